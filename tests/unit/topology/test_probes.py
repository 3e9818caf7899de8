import io
import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from analytics.tally import Tally
from bench.storm import Frames as FramesMade
from bench.storm_components import EMITTED_AT_ONCE, Frames, parts
from streams import ReceiptStream


def test_what_is_taken_apart_adds_up_to_what_is_folded() -> None:
    """The two ways that the benchmark compares count the same: sales by category, and revenue by minute."""
    stream, tally = ReceiptStream(ZoneInfo("UTC")), Tally()
    counted: dict[str, dict[str, int]] = {"category": {}, "minute": {}}
    for line in FramesMade().make(1, 50)[0].lines():
        stream.fold(tally, stream.parse(line), 0.0)
        for kind, key, amount, _ in parts(stream, line):
            rows = counted[str(kind)]
            rows[str(key)] = rows.get(str(key), 0) + int(amount)
    tables: dict[str, dict[str, int]] = {"category": {}, "minute": {}}
    for day in tally.days.values():
        for key, row in day.tables["categories"].items():
            tables["category"][key] = tables["category"].get(key, 0) + row[0]
        for key, row in day.tables["minutes"].items():
            tables["minute"][key] = tables["minute"].get(key, 0) + row[1]
    assert counted == tables


def test_a_probe_does_its_job_and_notes_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It emits as many tuples as ordered, going round; when the last is answered, it says how long all took."""
    monkeypatch.setenv("BENCH_JOBS", str(tmp_path))
    spout = Frames(input_stream=io.BytesIO(), output_stream=io.BytesIO())
    emitted: list[tuple[Any, str]] = []
    monkeypatch.setattr(spout, "emit", lambda values, tup_id: emitted.append((values, tup_id)))
    spout.initialize({}, {})
    count = EMITTED_AT_ONCE + 5
    (tmp_path / "job-1").write_text(json.dumps({"tuples": [["a"], ["b"]], "count": count}))
    for _ in range(4):
        spout.next_tuple()
    assert [values for values, _ in emitted[:3]] == [["a"], ["b"], ["a"]]
    assert len({name for _, name in emitted}) == len(emitted) == count
    for _, name in emitted[1:]:
        spout.ack(name)
    assert not (tmp_path / "done-1").exists()
    spout.fail(emitted[0][1])
    answer = json.loads((tmp_path / "done-1").read_text())
    assert answer["failed"] == 1
    assert answer["seconds"] > 0

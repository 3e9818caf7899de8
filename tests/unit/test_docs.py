"""The documentation's promises: links lead somewhere, examples are what they say, names are those of the code."""

import re
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from analytics import DayTally, Tally
from broker.exchanges import EXCHANGES, receipts_topology
from cli.main import COMMANDS
from engine import EngineState, View, messages
from entrypoint.problems import PROBLEM_TYPES
from streams import Event
from streams.receipt_schema import DocumentTotal, Line, Receipt, Settlement
from streams.receipts import ReceiptStream
from tests.unit.test_repository import PROJECT, ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
#: Metrics of what is measured are no part of the program that is.
PACKAGES = [ROOT / name for name in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_DEFINED = re.compile(r'\b(counter|gauge|histogram)\(\s*"(tillstream_\w+)"', re.IGNORECASE)
_NAMED = re.compile(r"^\| `(tillstream_\w+)` \| (\w+) \|", re.MULTILINE)


def relative(page: Path) -> str:
    """A page's name in test reports."""
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCED.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def json_examples(page: Path) -> Iterator[bytes]:
    """The fenced blocks of a page that are marked as JSON."""
    for language, text in _FENCED.findall(page.read_text()):
        if language == "json":
            yield text.encode()


def documented(name: str) -> str:
    """The text of a page of docs/."""
    return (ROOT / "docs" / name).read_text()


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    """Each relative link names a file of the repository and, after #, a heading there."""
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_json_examples_parse(page: Path) -> None:
    """What is marked as JSON is JSON."""
    for example in json_examples(page):
        msgspec.json.decode(example)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_commands_exist(page: Path) -> None:
    """A command that is named in running text is one."""
    assert set(re.findall(r"`tillstream ([a-z]+)", prose(page))) <= set(COMMANDS)


def test_the_example_receipt_is_accepted() -> None:
    """The receipt that people copy is one, and its lines add up to its total."""
    stream = ReceiptStream(ZoneInfo("UTC"))
    example = next(json_examples(ROOT / "docs" / "receipts.md"))
    event = stream.parse(stream.accept(example, 1.0))
    assert event.id == "612:3:2026-11-21 11:06:40:40213"
    assert not event.facts.mismatch


def test_every_field_of_a_receipt_is_listed() -> None:
    """The table of fields has a row for each field of the schema, and no others."""
    rows = set(re.findall(r"^\| `([\w.\[\]]+)` \|", documented("receipts.md"), re.MULTILINE))
    parts = {"lines[].": Line, "documentTotal.": DocumentTotal, "settlements[].": Settlement}
    fields = {*Receipt.__struct_fields__} - {"receivedTime", "documentTotal"}
    fields |= {f"{place}{name}" for place, part in parts.items() for name in part.__struct_fields__}
    assert rows == fields


def test_every_problem_is_listed_with_its_status() -> None:
    """The table of errors holds each problem that the entrypoint can answer."""
    rows = set(re.findall(r"^\| (\d{3}) \| `([\w-]+)` \|", documented("http.md"), re.MULTILINE))
    assert rows >= {(str(kind.status), kind.slug) for kind in PROBLEM_TYPES}


def test_every_exchange_queue_and_routing_key_is_described() -> None:
    """What is declared and published is on the page about messages."""
    text = documented("messages.md")
    stream = ReceiptStream(ZoneInfo("UTC"))
    event = stream.parse(stream.accept(next(json_examples(ROOT / "docs" / "receipts.md")), 1.0))
    view = View(
        day=event.day,
        tally=_folded(stream, event),
        seconds={},
        revision=1,
        as_of=1.0,
        received={},
        changed=None,
    )
    published = messages(stream, view, EngineState(writers=1, lag=0, queue_depth=0))
    names = {message.routing_key for message in published}
    names |= {exchange.name for exchange in EXCHANGES} | {queue.name for queue in receipts_topology().queues}
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_metrics_are_those_of_the_code() -> None:
    """The page lists each Prometheus metric with its type, and nothing that does not exist."""
    found = {}
    for package in PACKAGES:
        for module in package.rglob("*.py"):
            for kind, name in _DEFINED.findall(module.read_text()):
                is_counter = kind.lower() == "counter"  # prometheus_client adds the suffix where it is left out
                found[f"{name.removesuffix('_total')}_total" if is_counter else name] = kind.lower()
    assert dict(_NAMED.findall(documented("metrics.md"))) == found


def _folded(stream: ReceiptStream, event: Event) -> DayTally:
    tally = Tally()
    stream.fold(tally, event, 1.0)
    return tally.days[event.day]

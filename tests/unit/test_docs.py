"""The documentation's promises: links lead somewhere, examples are what they say, names are those of the code."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
import typer

from analytics import DayTally, Tally
from broker.exchanges import EXCHANGES, receipts_topology
from cli.main import COMMANDS, build
from cli.settings import FILE_SUFFIX, PREFIX, SETTINGS
from engine import EngineState, View, messages
from entrypoint.openapi import openapi
from entrypoint.problems import PROBLEM_TYPES, invalid_events
from feeds.answers import FINAL, Accepted, Again, Hopeless, Refused, Split, judge
from streams import Event, InvalidEventError
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


def cell(text: str) -> list[str]:
    """The pieces of code in a cell of a table, or in a sentence."""
    return re.findall(r"`([^`]*)`", text)


def test_the_dates_on_the_page_are_read_as_it_says() -> None:
    """Each row of the table of dates: what is read, as what, and what is refused."""
    stream = ReceiptStream(ZoneInfo("Europe/Paris"))
    table = documented("receipts.md").partition("| sent (time zone Europe/Paris) | read as |")[2].partition("\n\n")[0]
    rows = [row.strip("|").split("|") for row in table.strip().splitlines()[1:]]
    assert len(rows) > 5
    for sent, outcome in rows:
        for date in cell(sent):
            if outcome.strip().startswith("refused"):
                with pytest.raises(ValueError, match=r"expected|clocks went forward"):
                    stream.local.parse(date)
            else:
                expected = (cell(outcome) or [date])[0]
                assert stream.local.parse(date).text == expected, date
    first, second = (stream.local.parse(f"2026-10-25T02:30:00{offset}") for offset in ("+02:00", "+01:00"))
    assert stream.local.parse("2026-10-25 02:30:00") == first
    assert first.epoch < second.epoch


def test_the_amounts_on_the_page_are_read_as_it_says() -> None:
    """Each text that is named as taken, or as refused, is; and so is each rounded amount."""
    stream = ReceiptStream(ZoneInfo("UTC"))
    page = documented("receipts.md")
    example = msgspec.json.decode(next(json_examples(ROOT / "docs" / "receipts.md")))

    def revenue(total: str) -> int:
        """A receipt's revenue by the JSON of its total."""
        example["documentTotal"]["grossTotal"] = msgspec.Raw(total.encode())
        units: int = stream.parse(stream.accept(msgspec.json.encode(example), 1.0)).facts.revenue
        return units

    taken, refused = page.partition("- Text may have")[2].partition("\n- ")[0].split(")", maxsplit=1)
    assert [revenue(text) for text in cell(taken)] == [1000_0000, 2_4100, 2_4100]
    assert len(cell(refused)) >= 8
    for text in cell(refused):
        with pytest.raises(InvalidEventError):
            revenue(text)
    assert revenue("2.00005") == 2_0000
    assert revenue("3.4000000000000004") == 3_4000
    assert "`2.00005` is 2.0000" in page
    assert "`3.4000000000000004` is gone" in page


def test_the_ids_on_the_page_are_compared_and_written_as_it_says() -> None:
    """The same store, other stores, and the escaped id of the example."""
    stream = ReceiptStream(ZoneInfo("UTC"))
    page = documented("receipts.md")
    example = msgspec.json.decode(next(json_examples(ROOT / "docs" / "receipts.md")))

    def id_of(store: str) -> str:
        """A receipt's id by the JSON of its store's."""
        example["storeID"] = msgspec.Raw(store.encode())
        return stream.parse(stream.accept(msgspec.json.encode(example), 1.0)).id

    for sentence in (
        '`612` and\n  `"612"` are the same store, `7` and `"007"` are not',
        '`"612 "` is another store than `"612"`',
    ):
        assert sentence in page
    assert id_of("612") == id_of('"612"')
    assert id_of("7") != id_of('"007"')
    assert id_of('"612 "') != id_of('"612"')
    [(store, written)] = re.findall(r"the store `([^`]*)` becomes `([^`]*)`", page)
    assert id_of(f'"{store}"').startswith(f"{written}:3:")


def test_the_refusal_on_the_page_is_the_one_that_is_sent() -> None:
    """The problem document of the example is that of the mistakes in it, word for word."""
    stream = ReceiptStream(ZoneInfo("UTC"))
    good, shown = (msgspec.json.decode(text) for text in json_examples(ROOT / "docs" / "receipts.md"))
    without_store = {name: value for name, value in good.items() if name != "storeID"}
    not_a_number = msgspec.json.encode(good).replace(b'"quantity":2', b'"quantity":NaN')
    errors = []
    for index, raw in ((0, msgspec.json.encode(without_store)), (3, not_a_number)):
        with pytest.raises(InvalidEventError) as caught:
            stream.accept(raw, 1.0)
        errors.append((index, caught.value))
    sent = invalid_events(errors).response().body
    assert isinstance(sent, bytes)
    assert msgspec.json.decode(sent) == shown


def test_every_problem_is_listed_with_its_status() -> None:
    """The table of errors holds each problem that the entrypoint can answer."""
    rows = set(re.findall(r"^\| (\d{3}) \| `([\w-]+)` \|", documented("http.md"), re.MULTILINE))
    assert rows >= {(str(kind.status), kind.slug) for kind in PROBLEM_TYPES}


#: A sentence that names the final answers, in any page or description.
_FINAL_SENTENCE = re.compile(r"2xx,\s+400,\s+413,\s+415\s+(and|or)\s+422")


def test_the_final_answers_on_the_page_are_those_of_our_own_sender() -> None:
    """For every status: what the table says is what `tillstream post` does."""
    table = documented("http.md").partition("### Final answers")[2].partition("\n\n`tillstream")[0]
    rows = [[part.strip() for part in row.strip("|").split("|")] for row in table.splitlines() if row.startswith("|")]
    named: dict[int, tuple[str, str]] = {}
    for answers, final, advice in rows[2:]:
        for status in re.findall(r"\b\d{3}\b", answers):
            named[int(status)] = (final, advice)
    assert len(named) > 10
    for status in range(200, 600):
        verdict = judge(status, None, b"", 1, 0.0)
        final, advice = ("yes", "") if status < 300 else named.get(status, ("no", "nothing was taken"))
        assert (final == "yes") == isinstance(verdict, Accepted | Refused | Split), status
        assert ("send the same again, not before" in advice) == isinstance(verdict, Again), status
        assert (final == "no" and "nothing was taken" in advice) == isinstance(verdict, Hopeless), status


def test_the_same_final_answers_are_named_everywhere() -> None:
    """README, guarantees and the interface's own description name them, and no page calls all of 4xx final."""
    assert set(FINAL) == {400, 413, 415, 422}
    description = openapi()["paths"]["/receipts"]["post"]["description"]
    for text in (documented("guarantees.md"), (ROOT / "README.md").read_text(), description):
        assert _FINAL_SENTENCE.search(text)
    for page in PAGES:
        assert "4xx" not in page.read_text(), page


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


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_variables_exist(page: Path) -> None:
    """A variable that a page names is a setting, the file of a secret, or one that Docker Compose or the tests read."""
    settings = {row.variable for row in SETTINGS}
    files = {row.variable + FILE_SUFFIX for row in SETTINGS if row.secret}
    readers = [ROOT / "docker-compose.yml", *(ROOT / "scripts").iterdir(), *(ROOT / "tests" / "servers").glob("*.py")]
    others = {name for reader in readers for name in variables(reader) if name not in settings}
    assert variables(page) <= settings | files | others


def variables(file: Path) -> set[str]:
    """The names of environment variables in a file; not the beginning of several, as in `TILLSTREAM_STORM_*`."""
    return set(re.findall(rf"\b{PREFIX}\w*[A-Z0-9]\b(?!_\*)", file.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_flags_of_commands_exist(page: Path) -> None:
    """A command in an example or in running text has no flag that `tillstream` does not know for it."""
    for words in commands(page):
        command: Any = typer.main.get_command(build(words, rich=False))
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        known = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert used <= known | {"--help", "-h"}, f"{command.name} {' '.join(words)}"


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each `tillstream` command of a page, from the command's name to its end."""
    text = page.read_text().replace("\\\n", " ")
    for line in re.findall(r"(?:\btillstream|scripts/run) ([a-z][^`|&#>;()\n]*)", text):
        words = line.split()
        if words[0] in COMMANDS:
            yield words

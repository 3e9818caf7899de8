import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics import DayTally, Histogram, NewerFormatError, Tally, decode_day, decode_tally, encode_day, encode_tally
from analytics.tally import KEY_BYTES, MOST_KEYS, OTHERS, bounded_key

Step = tuple[Any, ...]
LENGTHS = {"total": 2, "categories": 3, "minutes": 2}

steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("row"),
            st.sampled_from(["2026-11-18", "2026-11-19"]),
            st.sampled_from(sorted(LENGTHS)),
            st.sampled_from(["", "Pain", "a.b", "$x", "é"]),
            st.lists(st.integers(-(10**15), 10**15), min_size=3, max_size=3),
        ),
        st.tuples(st.just("delay"), st.sampled_from(["2026-11-18", "2026-11-19"]), st.integers(-(10**6), 10**12)),
        st.tuples(st.just("second"), st.integers(0, 5), st.integers(-100, 100)),
    ),
    max_size=15,
)


def fold(tally: Tally, todo: list[Step]) -> Tally:
    """Do to a tally what a stream's fold would."""
    for kind, *rest in todo:
        if kind == "row":
            day, table, key, amounts = rest
            tally.day(day).add(table, key, *amounts[: LENGTHS[table]])
        elif kind == "delay":
            day, value = rest
            tally.day(day).delays.setdefault("system", Histogram()).add(value)
        else:
            second, value = rest
            row = tally.seconds.setdefault(second, [0, 0])
            row[0] += 1
            row[1] += value
    return tally


def many(first: int, number: int) -> DayTally:
    """A day with a category for each number."""
    day = DayTally()
    for each in range(first, first + number):
        day.add("categories", f"c{each}", each, 1)
    return day


def test_a_table_has_a_bound_on_its_keys() -> None:
    """The others are counted together, nothing is lost, and the order of merging does not matter."""
    parts = [many(7_000 * n, 12_000) for n in range(5)]
    results = []
    for seed in range(3):
        random.Random(seed).shuffle(parts)
        total = DayTally()
        for part in parts:
            total.merge(part)
            assert len(total.tables["categories"]) <= 2 * MOST_KEYS + 1
        results.append(encode_day(total))
    assert len(set(results)) == 1
    found = decode_day(results[0])
    rows = found.tables["categories"]
    assert (len(rows), found.overflowing) == (MOST_KEYS + 1, ["categories"])
    assert [sum(column) for column in zip(*rows.values(), strict=True)] == [
        sum(sum(range(7_000 * n, 7_000 * n + 12_000)) for n in range(5)),
        60_000,
    ]
    for key in rows.keys() - {OTHERS}:
        number = int(key[1:])
        times = sum(7_000 * part <= number < 7_000 * part + 12_000 for part in range(5))
        assert rows[key] == [times * number, times], key


def test_what_is_added_key_by_key_is_bounded_too() -> None:
    """In memory at twice the bound, and at the bound where it is written."""
    day = many(0, 2 * MOST_KEYS + 5)
    assert len(day.tables["categories"]) <= 2 * MOST_KEYS
    tally = Tally(days={"2026-11-18": day})
    assert len(decode_tally(encode_tally(tally)).days["2026-11-18"].tables["categories"]) == MOST_KEYS + 1


def test_a_day_full_of_the_longest_names_fits_into_a_document() -> None:
    """16 MiB, with four tables at their bound: names are cut, and those that differ behind the cut stay apart."""
    day = DayTally()
    for table in ("categories", "stores", "payments", "received"):
        for number in range(MOST_KEYS + 10):
            day.add(table, "\U0001f956" * 3_000 + str(number), 10**15, 10**15, 10**9)
    encoded = encode_day(day)
    assert len(encoded) < 16 * 1024**2 / 2
    assert len(decode_day(encoded).tables["stores"]) == MOST_KEYS + 1
    assert all(len(key.encode()) <= KEY_BYTES + 1 for key in decode_day(encoded).tables["stores"])


def test_a_name_of_usual_length_stays_as_it_is() -> None:
    """A key is cut only beyond its bound in bytes."""
    for name in ("Pain", "é" * (KEY_BYTES // 2), "x" * KEY_BYTES):
        assert bounded_key(name) == name
    cut = bounded_key("x" * (KEY_BYTES + 1))
    assert cut.startswith("xxx")
    assert cut != bounded_key("x" * (KEY_BYTES + 2))


def merged(*tallies: Tally) -> Tally:
    """The merge of tallies, which stay as they are."""
    return Tally.sum(tallies)


@given(steps, steps, steps)
def test_merging_is_associative_and_commutative_with_an_identity(a: list[Step], b: list[Step], c: list[Step]) -> None:
    """Order and grouping never matter, and an empty tally changes nothing."""
    x, y, z = (fold(Tally(), todo) for todo in (a, b, c))
    assert merged(merged(x, y), z) == merged(x, merged(y, z))
    assert merged(x, y) == merged(y, x)
    assert merged(x, Tally()) == x == merged(Tally(), x)


@given(steps, steps)
def test_folding_then_merging_equals_folding_together(a: list[Step], b: list[Step]) -> None:
    """A frame's tally and its events' tallies are the same thing."""
    assert merged(fold(Tally(), a), fold(Tally(), b)) == fold(fold(Tally(), a), b)


@given(steps, steps)
def test_merging_leaves_the_other_alone(a: list[Step], b: list[Step]) -> None:
    """What was merged shares nothing with where it went."""
    x, y = fold(Tally(), a), fold(Tally(), b)
    before = encode_tally(y)
    fold(merged(x, y), a)
    fresh = Tally()
    fresh.merge(y)
    fold(fresh, b)
    assert encode_tally(y) == before


@given(steps)
def test_tallies_survive_the_wire(todo: list[Step]) -> None:
    """Encoding and decoding gives the same tally; equal days give equal bytes, in whatever order they were folded."""
    tally = fold(Tally(), todo)
    assert decode_tally(encode_tally(tally)) == tally
    backwards = merged(*(fold(Tally(), [step]) for step in reversed(todo)))
    for day, amounts in tally.days.items():
        assert decode_day(encode_day(amounts)) == amounts
        assert encode_day(backwards.days[day]) == encode_day(amounts)


def test_a_newer_form_is_refused() -> None:
    """What a newer release wrote is not guessed at."""
    with pytest.raises(NewerFormatError):
        decode_tally(b'{"v":2,"tally":{}}')
    with pytest.raises(NewerFormatError):
        decode_day(b'{"v":2,"day":{"something":"else"}}')


def test_a_row_that_was_never_added_is_zeros() -> None:
    """Asking for nothing finds zeros, and makes nothing."""
    day = DayTally()
    assert day.row("total", "", 2) == [0, 0]
    assert day == DayTally()


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_quantiles_are_within_one_percent(values: list[int], fraction: float) -> None:
    """Any quantile is within 1 % of the value at its rank, and never outside of what was seen."""
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[max(1, math.ceil(fraction * len(values))) - 1]
    found = histogram.quantile(fraction)
    assert abs(found - exact) <= exact * 0.01 + 1
    assert min(values) <= found <= max(values)
    assert histogram.mean == pytest.approx(sum(values) / len(values))


def test_a_histogram_of_nothing_says_zero() -> None:
    """No values, no surprise."""
    assert (Histogram().mean, Histogram().quantile(0.5)) == (0.0, 0.0)


def test_histograms_of_parts_merge_to_that_of_the_whole() -> None:
    """A thousand values in ten parts are a thousand values."""
    chance = random.Random(1)
    values = [int(chance.expovariate(1e-5)) for _ in range(1000)]
    whole, parts = Histogram(), Histogram()
    for number in range(10):
        part = Histogram()
        for value in values[number::10]:
            part.add(value)
            whole.add(value)
        parts.merge(part)
    assert parts == whole


values = st.lists(st.integers(-(10**9), 10**13), max_size=60)


def histogram_of(found: list[int]) -> Histogram:
    """Those values, counted."""
    made = Histogram()
    for value in found:
        made.add(value)
    return made


@given(values, values)
def test_what_was_added_since_is_told_apart(before: list[int], after: list[int]) -> None:
    """Count, sum and buckets are exactly those of the later values; the extremes hold them, at most 2 % too far out."""
    whole, earlier = histogram_of(before + after), histogram_of(before)
    kept = whole.copy()
    found, exact = whole.since(earlier), histogram_of(after)
    assert (found.count, found.total, found.buckets) == (exact.count, exact.total, exact.buckets)
    assert whole == kept
    if not after:
        assert found == Histogram()
        return
    assert found.low is not None
    assert found.high is not None
    assert min(before + after) <= found.low <= min(after)
    assert max(after) <= found.high <= max(before + after)
    assert found.high <= max(1, max(after) * 1.02 + 2)
    if min(after) > 1:
        assert found.low >= min(after) / 1.02 - 2
    fraction = 0.5
    ranked = sorted(after)[max(1, math.ceil(fraction * len(after))) - 1]
    if ranked >= 0:
        assert abs(found.quantile(fraction) - ranked) <= ranked * 0.02 + 1


@given(values, values)
def test_what_was_added_since_can_be_merged_again(before: list[int], after: list[int]) -> None:
    """The earlier state and the difference are the whole, but for extremes, which were known anyway."""
    whole, earlier = histogram_of(before + after), histogram_of(before)
    again = earlier.copy()
    again.merge(whole.since(earlier))
    assert again == whole


def test_everything_was_added_since_nothing() -> None:
    """Without an earlier state the difference is the whole, as a copy."""
    whole = histogram_of([3, 5])
    found = whole.since(None)
    assert found == whole == whole.since(Histogram())
    found.add(7)
    assert whole.count == 2


def test_the_difference_to_another_histogram_is_refused() -> None:
    """One that has values which the later one never had is no earlier state."""
    with pytest.raises(ValueError, match="never had"):
        histogram_of([3]).since(histogram_of([3, 500]))

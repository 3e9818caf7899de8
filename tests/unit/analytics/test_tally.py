import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics import DayTally, Histogram, NewerFormatError, Tally, decode_day, decode_tally, encode_day, encode_tally

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

"""The judge of a campaign says what is wrong, and only that."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from bench.faults.judge import Evidence, Sent, Verdict, describe, judge
from bench.faults.plan import USUAL_KINDS, Cast, Pace, lanes
from feeds import Generator, GeneratorOptions
from tests.support_expected import Expected

FRAMES = 4


class Case:
    """Twenty receipts in four frames, all acknowledged, stored and counted; tests spoil it."""

    def __init__(self) -> None:
        generator = Generator(GeneratorOptions(seed=5))
        self.bodies = [generator.receipt() for _ in range(20)]
        self.sent = [Sent(facts=describe(body)) for body in self.bodies]
        for one in self.sent:
            one.answers["acknowledged"] = 1
        self.stored = [(body, f"frame-{number % FRAMES}") for number, body in enumerate(self.bodies)]
        self.counted = [(f"frame-{number}", 20 // FRAMES) for number in range(FRAMES)]
        self.rejected: list[tuple[str, bytes]] = []
        self.totals = self.sums()
        self.dead = self.audit = 0

    def sums(self) -> dict[str, dict[str, Any]]:
        """What the totals are to say of what is stored."""
        expected = Expected()
        expected.add_all(body for body, _ in self.stored)
        return {
            day: {
                "day": day,
                "sum": found.sum.quantize(Decimal("0.01")),
                "count": found.count,
                **{
                    name: {key: {"sum": amount.quantize(Decimal("0.01"))} for key, amount in amounts.items()}
                    for name, amounts in (
                        ("categories", found.categories),
                        ("stores", found.stores),
                        ("payments", found.payments),
                    )
                },
            }
            for day, found in expected.days.items()
        }

    def verdict(self) -> Verdict:
        """What the judge says."""
        return judge(
            self.sent,
            Evidence(
                stored=self.stored,
                rejected=self.rejected,
                counted=self.counted,
                totals=self.totals,
                published=next(iter(self.totals.values())),
                dead=self.dead,
                audit=self.audit,
            ),
        )

    def remove(self, number: int) -> None:
        """Take a receipt out of the store, and out of all that counts it."""
        _, frame = self.stored.pop(number)
        self.counted = [(name, count - (name == frame)) for name, count in self.counted]
        self.totals = self.sums()

    @property
    def only(self) -> dict[str, Any]:
        """The totals of its one day."""
        return next(iter(self.totals.values()))


def test_a_clean_campaign_passes() -> None:
    """Everything acknowledged, stored and counted once: no objection, and the sums are the receipts'."""
    case = Case()
    verdict = case.verdict()
    assert verdict.passed, verdict.wrong
    assert (verdict.attempted, verdict.acknowledged, verdict.stored) == (20, 20, 20)
    assert verdict.totals_sum == verdict.stored_sum == verdict.acknowledged_sum > 0
    assert verdict.recovered_sum == 0


def test_one_acknowledged_receipt_less_is_lost() -> None:
    """Even where store, ledger and totals agree with one another: the client was told otherwise."""
    case = Case()
    case.remove(7)
    verdict = case.verdict()
    assert (verdict.lost, verdict.duplicated, verdict.passed) == (1, 0, False)
    assert case.sent[7].facts.identity in "".join(verdict.wrong)


def test_an_unknown_receipt_may_be_there_or_not() -> None:
    """What nobody was told is recovered when it is stored, and no loss when it is not."""
    case = Case()
    for one in case.sent[:2]:
        one.answers.clear()
        one.answers["unknown"] = 3
    case.remove(0)
    verdict = case.verdict()
    assert verdict.passed, verdict.wrong
    assert (verdict.unknown, verdict.recovered, verdict.lost) == (2, 1, 0)
    assert verdict.recovered_sum == case.sent[1].facts.amount


def test_a_refusal_promises_nothing() -> None:
    """A receipt that was only ever refused is not missed, and told of when it is stored nevertheless."""
    case = Case()
    case.sent[3].answers = type(case.sent[3].answers)(refused=2)
    verdict = case.verdict()
    assert verdict.passed, verdict.wrong
    assert (verdict.refused, verdict.refused_stored) == (1, 1)


def test_counting_twice_is_seen_in_the_ledger_and_in_the_totals() -> None:
    """A ledger entry that counts more than its frame owns, or totals with one more than is stored."""
    case = Case()
    case.counted[2] = (case.counted[2][0], case.counted[2][1] + 1)
    assert (case.verdict().duplicated, case.verdict().passed) == (1, False)
    case = Case()
    case.only["count"] += 1
    assert (case.verdict().duplicated, case.verdict().passed) == (1, False)
    case = Case()
    case.counted.append(case.counted[0])
    assert (case.verdict().duplicated, case.verdict().passed) == (5, False)


def test_a_receipt_stored_twice_is_duplicated() -> None:
    """The same identity under two keys."""
    case = Case()
    case.stored.append((case.stored[0][0], "frame-9"))
    case.counted.append(("frame-9", 1))
    case.totals = case.sums()
    assert case.verdict().duplicated >= 1
    assert not case.verdict().passed


def test_stored_and_not_counted_is_seen() -> None:
    """A frame without a ledger entry: its receipts are in the store and in no total."""
    case = Case()
    frame, count = case.counted.pop()
    case.only["count"] -= count
    verdict = case.verdict()
    assert (verdict.uncounted, verdict.lost, verdict.passed) == (count, 0, False)
    assert frame in "".join(verdict.wrong)


def test_a_cent_too_much_is_seen() -> None:
    """In the sum of the day, and in that of one store, payment or category."""
    case = Case()
    case.only["sum"] += Decimal("0.01")
    assert not case.verdict().passed
    for name in ("categories", "stores", "payments"):
        case = Case()
        next(iter(case.only[name].values()))["sum"] += Decimal("0.01")
        assert not case.verdict().passed


def test_of_two_contents_one_is_stored_and_one_rejected() -> None:
    """A contradiction that was acknowledged has to be in `rejected`; if it is not, it is lost."""
    case = Case()
    receipt = json.loads(case.bodies[4])
    receipt["documentTotal"]["grossTotal"] += 5
    other = json.dumps(receipt).encode()
    case.sent.append(Sent(facts=describe(other)))
    case.sent[-1].answers["acknowledged"] = 1
    assert (case.verdict().lost, case.verdict().passed) == (1, False)
    case.rejected.append(("conflict", other))
    verdict = case.verdict()
    assert verdict.passed, verdict.wrong
    assert verdict.conflicts == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda case: case.rejected.append(("undecodable", b"{")),
        lambda case: setattr(case, "dead", 1),
        lambda case: setattr(case, "audit", 1),
        lambda case: case.sent.pop(),
        lambda case: case.sent[0].answers.update(invalid=1) or case.sent[0].answers.pop("acknowledged"),
    ],
    ids=["rejected for another reason", "dead letter", "audit", "stored and never sent", "refused as not valid"],
)
def test_what_else_fails_a_campaign(spoil: Callable[[Case], object]) -> None:
    """Nothing may be wrong that nobody looks at."""
    case = Case()
    spoil(case)
    assert not case.verdict().passed


def test_a_seed_is_a_schedule() -> None:
    """The same seed gives the same faults, another one others; in 15 minutes each usual kind has its turn."""
    cast = Cast(processes=["worker-1", "totals-1"], links=["worker-1 to store", "totals-1 to broker"])

    def drawn(seed: int) -> list[list[object]]:
        return [[next(lane) for _ in range(40)] for lane in lanes(seed, cast, Pace())]

    assert drawn(1) == drawn(1) != drawn(2)
    outer = {fault.kind for fault in drawn(1)[1]}  # type: ignore[attr-defined]
    inner = {fault.kind for fault in drawn(1)[0]}  # type: ignore[attr-defined]
    assert outer | inner == set(USUAL_KINDS)

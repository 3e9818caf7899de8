"""What became of each receipt: history against store, ledger and totals. Pure, with `decimal` and nothing of ours.

A receipt here is an identity with a content: the same identity with another content is another one, of which the store
keeps the first and puts the others into `rejected`.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from tests.support_expected import Expected, ExpectedDay

_CENT = Decimal("0.01")
_QUANTUM = Decimal("0.0001")
#: Of each finding so many are named.
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Facts:
    """What the judge needs to know of a receipt.

    Attributes:
        identity: store, terminal, date and id, as one text.
        digest: of all that it says, but for the time of reception.
        amount: its gross total.
    """

    identity: str
    digest: str
    day: str
    amount: Decimal


def describe(body: bytes) -> Facts:
    """The facts of a receipt as JSON. Raises ValueError or KeyError for what is none."""
    receipt: dict[str, Any] = json.loads(body, parse_float=Decimal)
    receipt.pop("receivedTime", None)
    said = json.dumps(receipt, sort_keys=True, default=str)
    return Facts(
        identity="|".join(str(receipt[name]) for name in ("storeID", "terminalID", "date", "cashReceiptID")),
        digest=hashlib.sha256(said.encode()).hexdigest(),
        day=str(receipt["date"])[:10],
        amount=Decimal(str(receipt["documentTotal"]["grossTotal"])).quantize(_QUANTUM, ROUND_HALF_EVEN),
    )


@dataclass(slots=True, kw_only=True)
class Sent:
    """A receipt that was posted.

    Attributes:
        wanted: how often a client set out to post it.
        answers: `acknowledged`, `refused`, `unknown` or `invalid` → how often.
    """

    facts: Facts
    wanted: int = 0
    answers: Counter[str] = field(default_factory=Counter)

    @property
    def fate(self) -> str:
        """The best that its clients know: one 202 settles it; without, one lost answer leaves it open."""
        return next((one for one in ("acknowledged", "unknown", "invalid", "refused") if self.answers[one]), "not sent")


@dataclass(slots=True, kw_only=True)
class Evidence:
    """What was found at the end.

    Attributes:
        stored: body and owner's frame of each stored receipt.
        rejected: reason and bytes of each rejected item.
        counted: frame and number of receipts of each ledger entry.
        totals: business day → what GET /totals/{day} answers.
        published: the last message on the exchange `count`, None if nothing came.
        dead: dead letters.
        audit: exit code of `tillstream audit`.
    """

    stored: Sequence[tuple[bytes, str]]
    rejected: Sequence[tuple[str, bytes]]
    counted: Sequence[tuple[str, int]]
    totals: Mapping[str, Mapping[str, Any]]
    published: Mapping[str, Any] | None = None
    dead: int = 0
    audit: int = 0


@dataclass(slots=True, kw_only=True)
class Verdict:
    """The figures, each in receipts, and what is wrong with them.

    Attributes:
        attempted: distinct receipts that were posted.
        acknowledged, unknown, refused: by the best answer that each got.
        stored: in the store; conflicts: in `rejected`, because another content came first.
        recovered: unknown, and yet stored or in `rejected`.
        refused_stored: only ever refused, and yet stored (which identity makes harmless).
        lost: acknowledged, and neither stored nor in `rejected`.
        uncounted: stored, and in no ledger entry or missing in the totals.
        duplicated: stored twice or counted more than once.
        invented: stored, and never posted.
        acknowledged_sum, recovered_sum, stored_sum, totals_sum: gross totals of what counts.
        wrong: one line for each reason to fail.
    """

    attempted: int = 0
    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    stored: int = 0
    conflicts: int = 0
    recovered: int = 0
    refused_stored: int = 0
    lost: int = 0
    uncounted: int = 0
    duplicated: int = 0
    invented: int = 0
    acknowledged_sum: Decimal = Decimal(0)
    recovered_sum: Decimal = Decimal(0)
    stored_sum: Decimal = Decimal(0)
    totals_sum: Decimal = Decimal(0)
    wrong: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, nothing counted twice, and all sums agree."""
        return not self.wrong


def judge(history: Iterable[Sent], evidence: Evidence) -> Verdict:
    """Compare what clients were told with what is there."""
    verdict = Verdict()
    sent = {(one.facts.identity, one.facts.digest): one for one in history}
    stored = [describe(body) for body, _ in evidence.stored]
    conflicts = {
        (facts.identity, facts.digest)
        for facts in (describe(body) for reason, body in evidence.rejected if reason == "conflict")
    }
    _judge_receipts(verdict, sent, stored, conflicts)
    _judge_sums(verdict, sent, stored)
    # What the ledger counts wrongly the totals do as well: each is one receipt's fault, not two.
    by_ledger, by_totals = _judge_ledger(verdict, evidence), _judge_totals(verdict, evidence)
    verdict.duplicated += max(by_ledger[0], by_totals[0])
    verdict.uncounted += max(by_ledger[1], by_totals[1])
    for reason, count in Counter(reason for reason, _ in evidence.rejected).items():
        if reason != "conflict":
            verdict.wrong.append(f"{count} in rejected as {reason}")
    if evidence.dead:
        verdict.wrong.append(f"{evidence.dead} dead letters")
    if evidence.audit:
        verdict.wrong.append(f"`tillstream audit` ended with {evidence.audit}")
    return verdict


def _judge_receipts(
    verdict: Verdict,
    sent: Mapping[tuple[str, str], Sent],
    stored: Sequence[Facts],
    conflicts: set[tuple[str, str]],
) -> None:
    kept = {(facts.identity, facts.digest) for facts in stored}
    copies = {identity: count for identity, count in Counter(facts.identity for facts in stored).items() if count > 1}
    verdict.attempted, verdict.stored, verdict.conflicts = len(sent), len(stored), len(conflicts)
    lost, invalid = [], []
    for key, one in sent.items():
        there = key in kept or key in conflicts
        if one.fate == "acknowledged":
            verdict.acknowledged += 1
            if not there:
                lost.append(key[0])
        elif one.fate == "unknown":
            verdict.unknown += 1
            verdict.recovered += there
        elif one.fate == "refused":
            verdict.refused += 1
            verdict.refused_stored += there
        elif one.fate == "invalid":
            invalid.append(key[0])
    verdict.lost = len(lost)
    verdict.duplicated += sum(count - 1 for count in copies.values())
    invented = sorted(key[0] for key in (kept | conflicts) - sent.keys())
    verdict.invented = len(invented)
    _name(verdict, "lost: acknowledged, and not there", lost)
    _name(verdict, "duplicated: stored more than once", sorted(copies))
    _name(verdict, "stored, and never sent", invented)
    _name(verdict, "answered as not valid", invalid)


def _judge_ledger(verdict: Verdict, evidence: Evidence) -> tuple[int, int]:
    """Receipts that the ledger counts too much, and too little."""
    owned = Counter(frame for _, frame in evidence.stored)
    counted: Counter[str] = Counter()
    for frame, count in evidence.counted:
        counted[frame] += count
    more = {frame: counted[frame] - owned[frame] for frame in counted if counted[frame] > owned[frame]}
    less = {frame: owned[frame] - counted[frame] for frame in owned if owned[frame] > counted[frame]}
    _name(verdict, "duplicated: the ledger counts more than a frame owns", sorted(more))
    _name(verdict, "uncounted: the ledger counts less than a frame owns", sorted(less))
    return sum(more.values()), sum(less.values())


def _judge_sums(verdict: Verdict, sent: Mapping[tuple[str, str], Sent], stored: Sequence[Facts]) -> None:
    """What clients sent of what is stored: acknowledged, or recovered. The amounts are those of their own copies."""
    told = {one.facts.identity for one in sent.values() if one.fate == "acknowledged"}
    for facts in stored:
        verdict.stored_sum += facts.amount
        one = sent.get((facts.identity, facts.digest))
        if one is None:
            continue
        if facts.identity in told:
            verdict.acknowledged_sum += one.facts.amount
        else:
            verdict.recovered_sum += one.facts.amount


def _judge_totals(verdict: Verdict, evidence: Evidence) -> tuple[int, int]:
    """Receipts that the totals count too much, and too little."""
    more = less = 0
    expected = Expected()
    expected.add_all(body for body, _ in evidence.stored)
    for day in sorted(expected.days.keys() | evidence.totals.keys()):
        should, found = expected.days[day], evidence.totals.get(day) or {}
        count = int(found.get("count", 0))
        verdict.totals_sum += Decimal(str(found.get("sum", 0)))
        if count > should.count:
            more += count - should.count
            verdict.wrong.append(f"duplicated: {day} counts {count - should.count} receipts more than are stored")
        elif count < should.count:
            less += should.count - count
            verdict.wrong.append(f"uncounted: {day} counts {should.count - count} receipts less than are stored")
        verdict.wrong += [f"{day}: {text}" for text in _unequal(should, found)]
    clients = verdict.acknowledged_sum + verdict.recovered_sum
    if not verdict.totals_sum == verdict.stored_sum.quantize(_CENT) == clients.quantize(_CENT):
        verdict.wrong.append(
            f"sums differ: totals {verdict.totals_sum}, stored {verdict.stored_sum.quantize(_CENT)}, "
            f"sent and stored {clients.quantize(_CENT)}"
        )
    _judge_published(verdict, expected, evidence.published)
    return more, less


def _judge_published(verdict: Verdict, expected: Expected, published: Mapping[str, Any] | None) -> None:
    if published is None:
        verdict.wrong.append("nothing is published")
        return
    should = expected.days[str(published["day"])]
    stored = (should.sum.quantize(_CENT), should.count)
    said = (Decimal(str(published["sum"])), published["count"])
    if said != stored:
        verdict.wrong.append(
            f"published for {published['day']}: {said[0]} and {said[1]}, stored {stored[0]} and {stored[1]}"
        )


def _unequal(should: ExpectedDay, found: Mapping[str, Any]) -> list[str]:
    """The figures of a day that are not what its stored receipts add up to."""
    pairs = [("sum", should.sum.quantize(_CENT), Decimal(str(found.get("sum", 0))))]
    for name, amounts in (
        ("categories", should.categories),
        ("stores", should.stores),
        ("payments", should.payments),
    ):
        rows = found.get(name, {})
        both: defaultdict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
        for key, amount in amounts.items():
            both[key][0] = amount.quantize(_CENT)
        for key, row in rows.items():
            both[key][1] = Decimal(str(row["sum"]))
        pairs += [(f"{name}/{key}", mine, theirs) for key, (mine, theirs) in sorted(both.items())]
    return [f"{name} is {theirs}, the receipts say {mine}" for name, mine, theirs in pairs if mine != theirs][:_NAMED]


def _name(verdict: Verdict, what: str, found: Sequence[str]) -> None:
    if found:
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        verdict.wrong.append(f"{what} ({len(found)}): {', '.join(found[:_NAMED])}{more}")

"""A campaign from start to verdict: traffic and faults for a time, then everything is healed, comes to rest, and is
judged.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import aiohttp

import broker as brokers
import store as stores
from bench.faults.judge import Evidence, Verdict, judge
from bench.faults.plan import Pace, lanes
from bench.faults.stage import Stage, StageOptions, staged
from bench.faults.traffic import Traffic, TrafficOptions
from bench.faults.trouble import Done, Trouble
from broker.exchanges import receipts_topology
from store.protocol import RejectedQuery
from tests.servers.cluster import RabbitCluster
from tests.servers.rabbit import PrivateRabbit, Rabbit

STREAM = "receipts"
#: What clients still try after the last fault is healed, then they give up.
_INSIST_SECONDS = 90.0
#: Everything that was accepted is counted by then, or never is.
_REST_SECONDS = 240.0
#: RabbitMQ's figures are a second old here; at rest is what looks so for longer.
_STABLE_SECONDS = 5.0
_START_SECONDS = 120.0
_PAGE = 1000


class CampaignError(Exception):
    """The campaign could not be carried through; it says nothing about receipts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignOptions:
    """What is played.

    Attributes:
        seed: of traffic and faults.
        seconds: of traffic with faults; starting, coming to rest and judging come on top.
    """

    seed: int
    seconds: float
    traffic: TrafficOptions = field(default_factory=TrafficOptions)
    stage: StageOptions = field(default_factory=StageOptions)
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All that a report is made of.

    Attributes:
        answers: receipts by answer, each attempt counted.
        faults: in the order of healing; skipped: kinds that could not be had → why.
        rest_s: from healing to rest; none of the figures count before.
        silence_s: the longest time in which no receipt was acknowledged.
        ended: process → exit codes with which it ended by itself.
        surprises: what a process did that it is not to do.
        complaints: errors that processes logged → how often.
        audit: what `tillstream audit --json` printed.
        broker: what it is, with its version.
    """

    options: CampaignOptions
    verdict: Verdict
    answers: dict[str, int]
    faults: list[Done]
    skipped: dict[str, str]
    took_s: float
    rest_s: float
    silence_s: float
    ended: dict[str, list[int]]
    surprises: list[str]
    complaints: dict[str, int]
    audit: str
    broker: str


async def play(
    options: CampaignOptions, say: Callable[[str], None] = lambda _: None, *, rabbit: Rabbit | None = None
) -> Outcome:
    """Play a campaign.

    Arguments:
        rabbit: one that runs, for a campaign that does nothing to it; by default it gets one of its own.
        say: told how it is going, in one line now and then.
    Raises CampaignError when the system does not come to rest; the servers' errors when they do not start.
    """
    async with staged(options.stage, rabbit) as stage:
        traffic = Traffic(stage.urls, options.traffic, options.seed)
        async with asyncio.TaskGroup() as tasks:
            posting = tasks.create_task(traffic.run(), name="clients")
            try:
                await _until(lambda: traffic.acknowledged > 0, _START_SECONDS, "the first receipt")
                if isinstance(stage.rabbit, PrivateRabbit | RabbitCluster) and rabbit is None:
                    await asyncio.to_thread(stage.rabbit.sync)
                trouble = Trouble(stage, traffic)
                await _play_lanes(stage, trouble, traffic, options, say)
                say("healed; waiting for rest")
                healed = time.monotonic()
                traffic.stop()
                await _drained(traffic, posting)
                say(f"clients are done after {time.monotonic() - healed:.0f} s")
                await _rest(stage, say)
            except BaseException:
                traffic.stop()
                traffic.give_up()
                raise
        rest_s = time.monotonic() - healed
        say(f"at rest after {rest_s:.0f} s; judging")
        published = await _published(stage, options.stage.work_max_bytes)
        totals = await _totals(stage)
        await asyncio.gather(*(part.stop() for part in stage.parts.values()))
        code, printed = await stage.tillstream("audit", "--json")
        evidence = await _evidence(stage, totals, published, code)
        complaints: Counter[str] = Counter()
        for part in stage.parts.values():
            complaints.update(part.complaints())
        return Outcome(
            options=options,
            verdict=judge(traffic.history.values(), evidence),
            answers=dict(traffic.answers),
            faults=trouble.done,
            skipped=trouble.skipped,
            took_s=round(healed - trouble.began, 1),
            rest_s=round(rest_s, 1),
            silence_s=round(traffic.silence_s, 1),
            ended={part.name: part.ended for part in stage.parts.values() if part.ended},
            surprises=[f"{part.name} {text}" for part in stage.parts.values() for text in part.surprises],
            complaints=dict(complaints.most_common()),
            audit=printed,
            broker=f"RabbitMQ {(await asyncio.to_thread(stage.rabbit.api.get, '/overview'))['rabbitmq_version']}"
            + (f", {len(stage.nodes)} nodes" if stage.nodes else ""),
        )


async def _play_lanes(
    stage: Stage, trouble: Trouble, traffic: Traffic, options: CampaignOptions, say: Callable[[str], None]
) -> None:
    """Faults for the campaign's time; all are healed when it returns."""

    async def clock() -> None:
        told = 0
        while (passed := time.monotonic() - trouble.began) < options.seconds:
            for done in trouble.done[told:]:
                say(
                    f"{done.at_s:7.1f} s  {done.kind} {done.target} for {done.lasted_s:.1f} s {done.note}".rstrip()
                    + f"; {traffic.acknowledged} acknowledged"
                )
            told = len(trouble.done)
            await asyncio.sleep(min(0.5, max(0.01, options.seconds - passed)))
        trouble.over.set()

    async with asyncio.TaskGroup() as playing:
        for lane in lanes(options.seed, stage.cast, options.pace):
            playing.create_task(trouble.play(lane))
        playing.create_task(clock())


async def _drained(traffic: Traffic, posting: "asyncio.Task[None]") -> None:
    done, _ = await asyncio.wait({posting}, timeout=_INSIST_SECONDS)
    if not done:
        traffic.give_up()
        await asyncio.wait({posting}, timeout=traffic.options.timeout_s + 5)


async def _rest(stage: Stage, say: Callable[[str], None]) -> None:
    """Wait until nothing waits in a queue and everything stored is in the totals."""
    still_since = time.monotonic()
    before: Any = None

    async def still() -> bool:
        nonlocal still_since, before
        try:
            queue = await asyncio.to_thread(stage.rabbit.queue, stage.broker_url, "receipts.work")
            counts = await _totals(stage)
        except (OSError, aiohttp.ClientError, TimeoutError, CampaignError):
            counts, queue = None, {}
        waiting = queue.get("messages_ready"), queue.get("messages_unacknowledged")
        state = waiting, {day: found["count"] for day, found in (counts or {}).items()}
        if waiting != (0, 0) or state != before:
            still_since = time.monotonic()
        if state != before:
            say(f"ready, unacknowledged: {waiting}, counted: {state[1]}")
        before = state
        return time.monotonic() - still_since > _STABLE_SECONDS

    await _until(still, _REST_SECONDS, "rest")


async def _totals(stage: Stage) -> dict[str, dict[str, Any]]:
    """GET /totals/{day} of every day that may have receipts. Raises CampaignError while it is not answered."""
    days = sorted({time.strftime("%Y-%m-%d", time.gmtime(time.time() - ago)) for ago in (0, 86_400)})
    found = {}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        for day in days:
            async with session.get(f"{stage.urls[0]}/totals/{day}") as response:
                if response.status != 200:
                    raise CampaignError(f"GET /totals/{day} answers {response.status}")
                answer = json.loads(await response.read(), parse_float=Decimal)
                if answer["count"] or day == days[-1]:
                    found[day] = answer
    return found


async def _published(stage: Stage, work_max_bytes: int) -> dict[str, Any] | None:
    """What is said on the exchange `count` at rest: the second message, for the first may be of before."""
    listener = await brokers.connect(stage.broker_url, receipts_topology(work_max_bytes=work_max_bytes))
    try:
        consumer = await listener.subscribe("faults", {"count": "#"})
        body: dict[str, Any] | None = None
        try:
            async with asyncio.timeout(15):
                heard = 0
                async for delivery in consumer:
                    body = json.loads(delivery.body, parse_float=Decimal)
                    heard += 1
                    if heard == 2:
                        break
        except TimeoutError:
            pass
        return body
    finally:
        await listener.close()


async def _evidence(
    stage: Stage, totals: dict[str, dict[str, Any]], published: dict[str, Any] | None, audit: int
) -> Evidence:
    """Read what is stored, past everything that was in trouble."""
    store = await stores.connect(stage.store_url)
    try:
        stored = [(event.body, event.frame) async for event in store.scan_events(STREAM)]
        counted = []
        async for entry in store.scan_ledger(STREAM):
            days = entry.tally.days.values() if entry.tally is not None else ()
            counted.append((entry.frame, sum(day.row("total", "", 2)[1] for day in days)))
        rejected: list[tuple[str, bytes]] = []
        after: str | None = None
        while page := await store.rejected(STREAM, RejectedQuery(after=after, limit=_PAGE)):
            whole = [await store.rejected_item(STREAM, item.id) for item in page]
            rejected += [(item.reason, item.body) for item in whole if item is not None]
            after = page[-1].id
    finally:
        await store.close()
    dead = await asyncio.to_thread(stage.rabbit.queue, stage.broker_url, "receipts.dead")
    return Evidence(
        stored=stored,
        rejected=rejected,
        counted=counted,
        totals=totals,
        published=published,
        dead=int(dead.get("messages", 0)),
        audit=audit,
    )


async def _until(check: Callable[[], Any], within: float, what: str) -> None:
    deadline = time.monotonic() + within
    while True:
        answer = check()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return
        if time.monotonic() > deadline:
            raise CampaignError(f"no {what} within {within:.0f} s")
        await asyncio.sleep(0.5)

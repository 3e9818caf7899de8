"""How the system is doing, in figures that are judged: what an operator reads when something is slow. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from dashboard.comparison import received_today
from dashboard.formats import UNKNOWN, Formats
from dashboard.messages import Delays
from dashboard.moments import Moment

#: What an operator has to do: nothing; have a look when there is time; act; find out.
State = Literal["good", "look", "bad", "unknown"]

#: Seconds from being received to being stored, 99th percentile of the last minute: from here on a look, and trouble.
#: A receipt usually takes some hundredths of a second; people notice seconds.
STORING_SECONDS = (1.0, 5.0)
#: Seconds from a receipt's own time to being stored, likewise. Tills send when a receipt is printed; one that was
#: offline sends late, which is right of it, so this is patient.
SENDING_SECONDS = (60.0, 600.0)
#: Frames waiting for a worker. A worker takes hundreds a second; a thousand that wait are seconds of work.
WAITING_FRAMES = (100, 1_000)
#: Ledger entries that the totals have not read.
LAG_ENTRIES = (100, 1_000)
#: Something rejected so lately deserves a look, seconds.
REJECTED_LATELY_SECONDS = 3600.0
#: Workers that are named on the page; the rest share a line.
MOST_WORKERS = 12
_MINUTES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number with its judgement.

    Attributes:
        value: ready to be shown.
        why: what it is, and where its bounds are, in one line.
        todo: what to do about it; empty when there is nothing to do.
    """

    name: str
    value: str
    state: State
    why: str
    todo: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayRow:
    """One delay over some time, as text."""

    what: str
    when: str
    p50: str
    p99: str
    mean: str
    max: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """What arrived in one of the last minutes.

    Attributes:
        height: percent of the chart.
    """

    time: str
    count: str
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker's part of the last minute."""

    name: str
    events: str
    share: str
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemView:
    """The page of the system, but for what was rejected.

    Attributes:
        minutes: those that are over, so that they change once a minute; the running one is `so_far`.
        top: the highest of `minutes`, as text.
        note: what is not right about the minutes yet; empty when nothing is.
    """

    live: Figure
    revision: str
    as_of: str
    pace: Figure
    so_far: str
    minutes: tuple[Minute, ...]
    top: str
    note: str
    storing: Figure
    sending: Figure
    delays: tuple[DelayRow, ...]
    waiting: Figure
    dead: Figure
    lag: Figure
    workers: Figure
    shares: tuple[Worker, ...]
    messages: Figure
    ignored: str

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All that is judged."""
        return (
            self.live, self.dead, self.workers, self.waiting, self.lag, self.storing, self.sending, self.pace,
            self.messages,
        )  # fmt: skip


def system_view(moment: Moment) -> SystemView:
    """All of it."""
    snapshot, formats = moment.snapshot, moment.formats
    count, delay = snapshot.count, snapshot.delay
    minutes, top = _minutes(moment)
    recent = delay.recent if delay else None
    return SystemView(
        live=_live(moment),
        revision=formats.count(count.revision) if count else UNKNOWN,
        as_of=_clock(moment, count.as_of) if count else UNKNOWN,
        pace=_pace(moment),
        so_far=_so_far(moment),
        minutes=minutes,
        top=formats.count(top),
        note="" if count is None or received_today(moment)[1] else "Earlier minutes follow shortly.",
        storing=_slow(
            "From entrypoint to store", recent.network_delay if recent else None, STORING_SECONDS, formats,
            why="99 of 100 receipts of the last minute were stored within this time after they came in",
            todo="Look at the waiting frames and the workers: too few of them, or a slow store.",
        ),
        sending=_slow(
            "From till to store", recent.connection_delay if recent else None, SENDING_SECONDS, formats,
            why="99 of 100 receipts of the last minute were stored within this time after their till printed them",
            todo="Tills were offline, or have clocks that are wrong: the receipts' journeys tell which.",
        ),
        delays=_delays(moment),
        **_engine(moment),
        shares=_shares(moment),
        messages=_messages(moment),
        ignored=formats.count(snapshot.ignored),
    )  # fmt: skip


def rejected_figure(counts: dict[str, int] | None, newest: float | None, error: str, moment: Moment) -> Figure:
    """What was rejected and is still to be dealt with.

    Arguments:
        counts: reason → how many are open; None before they were read.
        newest: when the newest open one was rejected, epoch seconds; None when there is none.
        error: why the store could not be read; empty if it could.
    """
    total = moment.formats.count(sum(counts.values())) if counts is not None else UNKNOWN
    why = "Accepted, cannot be counted, and not dealt with yet; one of the last hour deserves a look"
    state: State = "good"
    todo = ""
    if error:
        state, todo = "bad", f"The store does not answer: {error}"
    elif counts is None:
        state = "unknown"
    elif newest is not None and moment.epoch - newest < REJECTED_LATELY_SECONDS:
        state, todo = "look", "See the newest ones below: mostly a till that uses a number twice."
    return Figure(name="Rejected", value=total, state=state, why=why, todo=todo)


def troubles(figures: Sequence[Figure]) -> tuple[Figure, ...]:
    """What somebody has to see to, the worst first."""
    return tuple(figure for state in ("bad", "look") for figure in figures if figure.state == state)


def duration(seconds: float | None, formats: Formats) -> str:
    """A time span as people say it: `43 ms`, `1.2 s`, `12 min`, `5 h`."""
    if seconds is None:
        return UNKNOWN
    size = abs(seconds)
    if size < 0.9995:
        return f"{formats.count(round(seconds * 1000))} ms"
    if size < 120:
        return f"{formats.quantity(Decimal(str(round(seconds, 1))))} s"
    return f"{formats.count(round(seconds / 60))} min" if size < 7200 else f"{formats.count(round(seconds / 3600))} h"


def _live(moment: Moment) -> Figure:
    why = "The totals speak every second; after three seconds of silence the figures are called stale"
    if moment.stale:
        return Figure(
            name="Totals",
            value=f"silent for {duration(moment.silence, moment.formats)}",
            state="bad",
            why=why,
            todo="Is `tillstream totals` running, and the broker? Receipts are safe meanwhile.",
        )
    if moment.snapshot.count is None:
        return Figure(name="Totals", value="not heard yet", state="unknown", why=why)
    if not moment.snapshot.count.complete:
        return Figure(
            name="Totals",
            value="catching up",
            state="look",
            why=why,
            todo="The totals were behind and are reading the ledger, so the figures are still too low. If this lasts, "
            "look at the log of `tillstream totals`.",
        )
    return Figure(name="Totals", value="live", state="good", why=why)


def _pace(moment: Moment) -> Figure:
    rate = moment.snapshot.rate
    why = "Receipts that came in within the last 60 seconds"
    if rate is None:
        return Figure(name="Last minute", value=UNKNOWN, state="unknown", why=why)
    quiet = rate.average_per_minute <= 0
    return Figure(
        name="Last minute",
        value=moment.formats.count(round(rate.average_per_minute)),
        state="look" if quiet else "good",
        why=why,
        todo="Nothing comes in: right at night; by day look at the entrypoint and at the tills' network."
        if quiet
        else "",
    )


def _slow(
    name: str, delays: Delays | None, bounds: tuple[float, float], formats: Formats, *, why: str, todo: str
) -> Figure:
    look, bad = bounds
    why += f"; from {duration(look, formats)} a look, from {duration(bad, formats)} trouble"
    if delays is None or delays.p99 is None:
        value = "none in the last minute" if delays else UNKNOWN
        return Figure(name=name, value=value, state="good" if delays else "unknown", why=why)
    state = _judge(delays.p99, look, bad)
    value = duration(delays.p99, formats)
    return Figure(name=name, value=value, state=state, why=why, todo="" if state == "good" else todo)


def _delays(moment: Moment) -> tuple[DelayRow, ...]:
    delay, formats = moment.snapshot.delay, moment.formats
    if delay is None:
        return ()
    rows = []
    for what, day, recent in (
        ("Entrypoint to store", delay.network_delay, delay.recent and delay.recent.network_delay),
        ("Till to store", delay.connection_delay, delay.recent and delay.recent.connection_delay),
    ):
        for when, each in (("last minute", recent), ("the day", day)):
            if each is not None:
                texts = {name: duration(getattr(each, name), formats) for name in ("p50", "p99", "mean", "max")}
                rows.append(DelayRow(what=what, when=when, **texts))
    return tuple(rows)


def _engine(moment: Moment) -> dict[str, Figure]:
    engine, formats = moment.snapshot.engine, moment.formats

    def figure(name: str, number: int | None, state: State, why: str, todo: str = "") -> Figure:
        value = UNKNOWN if number is None else formats.count(number)
        known = number is not None
        return Figure(name=name, value=value, state=state if known else "unknown", why=why, todo=todo if known else "")

    waiting = engine.queue_depth if engine else None
    dead = engine.dead_letters if engine else None
    lag = engine.lag if engine else None
    workers = engine.consumers if engine else None
    state_waiting = _judge(waiting or 0, *WAITING_FRAMES)
    state_lag = _judge(lag or 0, *LAG_ENTRIES)
    return {
        "waiting": figure(
            "Waiting frames", waiting, state_waiting,
            f"Frames that no worker has taken yet; from {_bounds(WAITING_FRAMES, formats)}",
            "" if state_waiting == "good" else "Start another worker if this grows: `tillstream worker`.",
        ),
        "dead": figure(
            "Dead letters", dead, "bad" if dead else "good",
            "Frames that came back too often and are not counted; any is trouble",
            "See `tillstream rejected list --reason poison`, find in the log of the workers why they came back, "
            "then `tillstream rejected replay --reason poison`: nothing counts twice." if dead else "",
        ),
        "lag": figure(
            "Behind in the ledger", lag, state_lag,
            f"Ledger entries that are not in the totals yet; from {_bounds(LAG_ENTRIES, formats)}",
            "" if state_lag == "good" else "The totals are slower than the workers, or just began: watch if it falls.",
        ),
        "workers": figure(
            "Workers", workers, "good" if workers else "bad",
            "Workers that are connected, idle ones included; none is trouble",
            "" if workers else "Nobody stores receipts; they wait in the queue. Start one: `tillstream worker`.",
        ),
    }  # fmt: skip


def _shares(moment: Moment) -> tuple[Worker, ...]:
    engine, formats = moment.snapshot.engine, moment.formats
    rows = [(each.worker, each.events, each.share) for each in engine.workers] if engine else []
    if len(rows) > MOST_WORKERS:
        rest = rows[MOST_WORKERS - 1 :]
        others = (f"{len(rest)} others", sum(row[1] for row in rest), sum(row[2] for row in rest))
        rows = [*rows[: MOST_WORKERS - 1], others]
    return tuple(
        Worker(
            name=name,
            events=formats.count(events),
            share=formats.share(Decimal(str(round(share, 4)))),
            width=round(min(max(share, 0.0), 1.0) * 100, 1),
        )
        for name, events, share in rows
    )


def _messages(moment: Moment) -> Figure:
    snapshot, formats = moment.snapshot, moment.formats
    return Figure(
        name="Malformed messages",
        value=formats.count(snapshot.malformed),
        state="look" if snapshot.malformed else "good",
        why=f"Of {formats.count(snapshot.accepted + snapshot.ignored + snapshot.malformed)} messages that this page's "
        "server got from the totals; any deserves a look",
        todo="Another version of Tillstream may be publishing: the log of the dashboard names the field."
        if snapshot.malformed
        else "",
    )


def _minutes(moment: Moment) -> tuple[tuple[Minute, ...], int]:
    """The last minutes that are over, and the highest."""
    snapshot, zone = moment.snapshot, moment.config.timezone
    count, (received, _) = snapshot.count, received_today(moment)
    if count is None:
        return (), 0
    times = [datetime.fromtimestamp(count.as_of - 60 * ago, zone) for ago in range(_MINUTES, 0, -1)]
    # What came in before midnight belongs to another day's messages.
    names = [time.strftime("%H:%M") for time in times if time.date().isoformat() == count.day]
    numbers = [received[name].count if name in received else 0 for name in names]
    top = max(numbers, default=0)
    return (
        tuple(
            Minute(
                time=name,
                count=moment.formats.count(number),
                height=round(number / top * 100, 1) if top > 0 else 0.0,
            )
            for name, number in zip(names, numbers, strict=True)
        ),
        top,
    )


def _so_far(moment: Moment) -> str:
    """The running minute."""
    snapshot = moment.snapshot
    if snapshot.count is None:
        return ""
    minute = _clock(moment, snapshot.count.as_of)[:5]
    amount = received_today(moment)[0].get(minute)
    return f"Since {minute}: {moment.formats.count(amount.count if amount else 0)}."


def _judge(number: float, look: float, bad: float) -> State:
    return "bad" if number >= bad else "look" if number >= look else "good"


def _bounds(bounds: tuple[int, int], formats: Formats) -> str:
    return f"{formats.count(bounds[0])} a look, from {formats.count(bounds[1])} trouble"


def _clock(moment: Moment, epoch: float) -> str:
    return datetime.fromtimestamp(epoch, moment.config.timezone).strftime("%H:%M:%S")

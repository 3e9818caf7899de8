"""Local wall time to business days and back: one configured time zone, its gaps and doubled hours included.

And how far a date may be from the time of reception.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

#: `YYYY-MM-DD HH:MM:SS`, or RFC 3339 (T instead of the space; fractions; Z or an offset, whose
#: colon may be left out).
_FORM = re.compile(r"(\d{4}-\d\d-\d\d)[ Tt](\d\d:\d\d:\d\d)(?:\.\d+)?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII)
_DAY_SECONDS = 86_400
_EXPECTED = "expected `YYYY-MM-DD HH:MM:SS` in local time, or RFC 3339"


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of local wall time.

    Attributes:
        text: canonical form, `YYYY-MM-DD HH:MM:SS`.
        day: business day, `YYYY-MM-DD`.
        minute: `HH:MM`.
        epoch: epoch seconds.
    """

    text: str
    day: str
    minute: str
    epoch: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DateWindow:
    """How far an event's date may be from its reception: a till whose clock is wrong must not make up days.

    Attributes:
        past_days, future_days: days of 24 hours.
    """

    past_days: float
    future_days: float

    def trouble(self, moment: Moment, received: float) -> str:
        """One phrase about a moment that is too far from its reception (epoch seconds); else nothing."""
        days = (moment.epoch - received) / _DAY_SECONDS
        if days > self.future_days:
            limit = f"at most {self.future_days:,.10g} days ahead (TILLSTREAM_FUTURE_DAYS)"
        elif -days > self.past_days:
            limit = f"at most {self.past_days:,.10g} days ago (TILLSTREAM_PAST_DAYS)"
        else:
            return ""
        return f"expected a date {limit}, got {moment.day}"


class LocalTime:
    """Reads dates in one time zone.

    A time without offset that the zone skips (spring) is refused; one that it has twice (autumn) is the first.
    Fractions of a second are dropped. With an offset, the moment is turned into the zone's wall time.
    """

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        # receipts of a second share their date's text; the bound keeps a hostile sender from growing it
        self.parse = lru_cache(maxsize=16_384)(self._parse)

    def _parse(self, text: str) -> Moment:
        """Read a date. Raises ValueError with one phrase that says what was expected."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(f"{_EXPECTED}, got {text[:40]!r}")
        date, clock, offset = match.groups()
        try:
            moment = datetime.fromisoformat(f"{date} {clock}{(offset or '').upper()}")
            if offset is None:
                moment = moment.replace(tzinfo=self.zone, fold=0)
                back = moment.astimezone(UTC).astimezone(self.zone)
                if back.replace(tzinfo=None) != moment.replace(tzinfo=None):
                    raise ValueError(f"{text} does not exist in {self.zone.key}: clocks went forward")
            else:
                moment = moment.astimezone(self.zone)
            epoch = moment.timestamp()
        except OverflowError:
            raise ValueError(f"{_EXPECTED}, got a year out of range") from None
        except ValueError as exc:
            if "clocks went forward" in str(exc):
                raise
            raise ValueError(f"{_EXPECTED}; {text[:40]!r} is not a date that exists") from None
        wall = moment.strftime("%Y-%m-%d %H:%M:%S").rjust(19, "0")
        return Moment(text=wall, day=wall[:10], minute=wall[11:16], epoch=epoch)

    def day_of(self, epoch: float) -> str:
        """The business day of a moment."""
        return datetime.fromtimestamp(epoch, self.zone).strftime("%Y-%m-%d")

    def minute_of(self, epoch: float) -> str:
        """The local `HH:MM` of a moment."""
        return datetime.fromtimestamp(epoch, self.zone).strftime("%H:%M")

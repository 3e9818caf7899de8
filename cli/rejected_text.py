"""What was rejected, as text for a terminal: what came from receipts can do nothing there."""

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from store.protocol import Rejected, RejectedSummary


def line(item: RejectedSummary, zone: ZoneInfo) -> str:
    """An item on one line."""
    return f"{item.id}  {_local(item.first_seen, zone)}  {item.reason:11}  {item.status:9}  {plain(item.detail)}"


def page(item: Rejected, zone: ZoneInfo) -> str:
    """All there is about an item, with its bytes: JSON on several lines, other text as it is, the rest escaped."""
    rows = [
        ("id", item.id),
        ("reason", item.reason),
        ("detail", item.detail),
        ("status", item.status),
        ("first seen", _local(item.first_seen, zone)),
        ("frame", item.source),
    ]
    for step in item.steps:
        what = "rejected again" if step.what == "again" else step.what
        said = ", ".join(filter(None, (_local(step.at, zone), step.frame and f"frame {step.frame}", step.note)))
        rows.append((what, said))
    lines = [f"{name:15}{plain(text)}" for name, text in rows]
    return "\n".join([*lines, "", *(plain(each) for each in _readable(item.body).split("\n"))])


def plain(text: str) -> str:
    """Text that no terminal takes for a command, and that stays on its line."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def _local(epoch: float, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(epoch, zone).strftime("%Y-%m-%d %H:%M:%S")


def _readable(body: bytes) -> str:
    try:
        return msgspec.json.format(body, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode("utf-8", "backslashreplace")

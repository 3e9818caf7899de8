"""Topic matching as AMQP 0-9-1 (4.2.4 "topic exchange") and RabbitMQ do it: words joined by dots, `*` and `#`.

The empty key has no words at all; `a.` has two, the second one empty.
"""


def words(key: str) -> list[str]:
    """The words of a routing key or pattern."""
    return key.split(".") if key else []


def matches(pattern: str, key: str) -> bool:
    """Whether a routing key fits a pattern, where `*` is exactly one word and `#` any number, none included."""
    if pattern == "#" or (pattern == key and "*" not in pattern and "#" not in pattern):
        return True
    wanted, given = words(pattern), words(key)
    at = position = 0
    hash_at, resume = -1, 0  # the last `#` met, and the first word that it does not take so far
    while position < len(given):
        if at < len(wanted) and wanted[at] == "#":
            hash_at, resume = at, position
            at += 1
        elif at < len(wanted) and wanted[at] in ("*", given[position]):
            at += 1
            position += 1
        elif hash_at >= 0:  # let the last `#` take one word more; an earlier one can gain nothing by it
            resume += 1
            at, position = hash_at + 1, resume
        else:
            return False
    return all(word == "#" for word in wanted[at:])

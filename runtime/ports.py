"""Ports that cannot be listened on, said so that somebody can do something about it."""

import errno
import os


def cannot_listen(host: str, port: int, error: OSError, setting: str) -> str:
    """One line for an address that cannot be listened on.

    Arguments:
        setting: the variable that sets the port; it is named where another port would do. Empty: there is none.
    """
    # asyncio's own text repeats the address; a host that cannot be found has a negative number.
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
    free = f"; {setting}=0 takes a free one" if setting and error.errno == errno.EADDRINUSE else ""
    return f"cannot listen on {host}:{port}: {reason.lower()}{free}"

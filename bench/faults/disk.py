"""A small disk that can be made full and free again: a tmpfs, which takes root's rights to mount."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path


class NoDiskError(Exception):
    """No tmpfs can be mounted here; the text says why."""


class SmallDisk:
    """A tmpfs of our own. All methods block, for milliseconds.

    Filling it is changing its size, which costs neither time nor memory.

    Arguments:
        size: bytes that it holds; memory is only used for what is written.

    Attributes:
        folder: where it is.

    Raises NoDiskError.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self.folder = Path(tempfile.mkdtemp(prefix="tillstream-disk-"))
        try:
            _mount("-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(self.folder))
        except NoDiskError:
            self.folder.rmdir()
            raise
        # Unmounts when this process ends without doing so: its end of the pipe is what the shell waits for.
        self._guard = subprocess.Popen(
            ["sh", "-c", 'read _; umount -l "$1"; rmdir "$1"', "guard", self.folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def fill(self, left: int = 0) -> None:
        """Leave so many bytes free."""
        seen = os.statvfs(self.folder)
        used = (seen.f_blocks - seen.f_bfree) * seen.f_frsize
        _mount("-o", f"remount,size={max(used + left, seen.f_frsize)}", str(self.folder))

    def free(self) -> None:
        """Have room again."""
        _mount("-o", f"remount,size={self._size}", str(self.folder))

    def close(self) -> None:
        """Unmount it, with all that is on it."""
        self._guard.communicate(b"\n")
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def _mount(*arguments: str) -> None:
    command = shutil.which("mount") or "/bin/mount"
    try:
        done = subprocess.run([command, *arguments], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise NoDiskError(f"mount: {exc}") from exc
    if done.returncode != 0:
        raise NoDiskError(done.stderr.strip() or f"mount ended with {done.returncode}")

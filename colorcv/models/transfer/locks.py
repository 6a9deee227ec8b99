"""Locks that the system drops when their holder dies, on an open file.

They belong to the open file and not to the process, so they hold between threads too.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["lock", "lock_folder", "unlock"]

LOCK_NAME = ".lock"
POLL_S = 0.1
# Longer than a living download can go without a byte (fetch.STALL_S plus the longest wait).
PATIENCE_S = 150.0
_log = logging.getLogger("colorcv")

if sys.platform == "win32":
    import msvcrt

    def _try_lock(fd: int) -> None:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

    def _unlock(fd: int) -> None:
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)


def lock(fd: int) -> bool | None:
    """Lock an open file: True when it is ours now, False when another has it, None when this
    file system has no locks."""
    try:
        _try_lock(fd)
    except OSError as err:
        held = err.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
        return False if held else None
    return True


def unlock(fd: int) -> None:
    """Give a lock back, also for copies of the open file that a fork has made."""
    with suppress(OSError):
        _unlock(fd)


@contextmanager
def lock_folder(folder: Path, waiting: Callable[[], int]) -> Iterator[None]:
    """Hold the folder's lock, so that one process downloads while the others wait.

    It saves work and guards nothing: where it cannot be had, each process goes on by itself.
    `waiting` is called again and again while another process has it, and returns how many bytes
    that one has so far; when they stand still for `PATIENCE_S` seconds, nobody waits any longer.
    """
    try:
        # For reading, so that a folder shared by several users needs no common file mode.
        fd = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_CREAT, 0o666)
    except OSError as err:
        _log.info("no lock in %s (%s): going on without", folder, err)
        yield
        return
    try:
        _wait_for(fd, folder, waiting)
        yield
    finally:
        unlock(fd)
        os.close(fd)


def _wait_for(fd: int, folder: Path, waiting: Callable[[], int]) -> None:
    before, since = -1, time.monotonic()
    while (got := lock(fd)) is False:
        here = waiting()
        if here != before:
            before, since = here, time.monotonic()
        elif time.monotonic() - since > PATIENCE_S:
            _log.warning("whoever downloads into %s stands still: going on by ourselves", folder)
            return
        time.sleep(POLL_S)
    if got is None:
        _log.info("no file locks in %s: going on without", folder)

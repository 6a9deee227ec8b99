"""File locks, which the operating system releases when the process that holds them dies.

They belong to the open file and not to the process, so they also exclude other threads.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..._logging import logger

__all__ = ["lock", "lock_folder", "unlock"]

LOCK_NAME = ".lock"
POLL_INTERVAL_S = 0.1
# Seconds without progress. A running download rarely goes as long without a byte: the limits are
# http.STALL_TIMEOUT_S and the longest pause between attempts.
LOCK_TIMEOUT_S = 100.0
NOTICE_AFTER_S = 5.0  # seconds without progress, after which the wait is logged

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
    """Try to lock an open file.

    Returns
    -------
    bool or None
        True if the lock is taken now, False if it is held elsewhere, None if this file system has
        no locks.
    """
    try:
        _try_lock(fd)
    except OSError as err:
        held = err.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
        return False if held else None
    return True


def unlock(fd: int) -> None:
    """Release a lock, also for copies of the open file that a fork has made."""
    with suppress(OSError):
        _unlock(fd)


@contextmanager
def lock_folder(folder: Path, poll: Callable[[], int]) -> Iterator[None]:
    """Hold the lock of a folder, so that one process downloads while others wait.

    The lock only saves work: without it several processes download the same file, each into a
    partial file of its own, and the result is the same.

    Parameters
    ----------
    folder : Path
    poll : callable
        Called repeatedly while another process holds the lock; returns how many bytes that process
        has received. If the number stays the same for `LOCK_TIMEOUT_S` seconds, the wait ends
        without the lock.
    """
    try:
        # Read-only, so that users who share the folder need no write permission for this file.
        fd = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_CREAT, 0o666)
    except OSError as err:
        logger.info("cannot create a lock file in %s (%s); downloading without a lock", folder, err)
        yield
        return
    try:
        _wait_for(fd, folder, poll)
        yield
    finally:
        unlock(fd)
        os.close(fd)


def _wait_for(fd: int, folder: Path, poll: Callable[[], int]) -> None:
    before, since, is_logged = -1, time.monotonic(), False
    while (locked := lock(fd)) is False:
        received, now = poll(), time.monotonic()
        if received != before:
            before, since = received, now
        elif now - since > LOCK_TIMEOUT_S:
            logger.warning(
                "the process that downloads to %s has made no progress for %.0f s; downloading "
                "here too", folder, LOCK_TIMEOUT_S,
            )  # fmt: skip
            return
        elif now - since > NOTICE_AFTER_S and not is_logged:
            is_logged = True
            logger.warning("waiting for another process that downloads to %s", folder)
        time.sleep(POLL_INTERVAL_S)
    if locked is None:
        logger.info("the file system of %s has no file locks; downloading without a lock", folder)

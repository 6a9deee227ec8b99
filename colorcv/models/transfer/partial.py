"""A file in the making: kept for the next try, never written by two processes at once.

Every process writes under a temp name of its own, ``<name>.<sha256 begins>.<pid>-<token>.part``,
and holds a lock on it while it lives. What a dead one left is taken over by locking and renaming
it, which only one process can do; the others begin anew.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..registry import ModelFile
from .locks import lock, unlock

__all__ = ["Partial", "WriteFailed", "kept_bytes", "remove_abandoned", "writing"]

# Where there are no locks, a part that nobody has touched for so long belongs to nobody.
ABANDONED_S = 3600.0
_FLAGS = os.O_RDWR | getattr(os, "O_BINARY", 0)  # Windows' own


class WriteFailed(Exception):
    """The disk did not take what was written. The cause is the OSError."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell OSErrors of the disk apart from those of the network and of a progress callback."""
    try:
        yield
    except OSError as err:
        raise WriteFailed(f"cannot write {path}: {err.strerror or err}") from err


class Partial:
    """What has arrived of one file so far, with its hash; opened by `open`."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.size = 0
        self._hash = hashlib.sha256()
        self._fd: int | None = fd

    @classmethod
    @contextmanager
    def open(cls, folder: Path, file: ModelFile) -> Iterator[Partial]:
        """Take over the largest part that was left, or begin a new one; keep it at the end."""
        own = folder / f"{_stem(file)}.{os.getpid()}-{secrets.token_hex(4)}.part"
        with writing(own):
            fd = _take_over(folder, file, own)
            if fd is None:
                fd = os.open(own, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666)
                lock(fd)
        part = cls(own, fd)
        try:
            with writing(own):
                size = os.fstat(fd).st_size
                part.cut_to(size if size <= file.size else 0)
            remove_abandoned(folder, file)  # the smaller ones
            yield part
        finally:
            part._close()
            if part.size == 0:
                with suppress(OSError):
                    own.unlink()

    @property
    def sha256(self) -> str:
        """The hash of what is here, in hexadecimal."""
        return self._hash.hexdigest()

    def append(self, data: bytes) -> None:
        """Write at the end; unbuffered, so that what was appended survives a kill."""
        assert self._fd is not None
        view = memoryview(data)
        with writing(self.path):
            while view:
                count = os.write(self._fd, view)
                self._hash.update(view[:count])
                self.size += count
                view = view[count:]

    def cut_to(self, size: int) -> None:
        """Keep the first `size` bytes only."""
        assert self._fd is not None
        with writing(self.path):
            os.ftruncate(self._fd, size)
            os.lseek(self._fd, 0, os.SEEK_SET)
            self._hash = hashlib.sha256()
            self.size = 0
            while block := os.read(self._fd, 1 << 20):
                self._hash.update(block)
                self.size += len(block)

    def finish(self, final: Path) -> os.stat_result:
        """Give the file its final name, in one step, once the disk has all of it.

        Returns its status from before, when nobody else could have put another one there.
        """
        assert self._fd is not None
        with writing(final):
            os.fsync(self._fd)
            status = os.fstat(self._fd)
            if sys.platform == "win32":  # there an open file cannot be renamed
                self._close()
            self.path.replace(final)
            if sys.platform != "win32":
                folder = os.open(final.parent, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
        return status

    def _close(self) -> None:
        if self._fd is not None:
            unlock(self._fd)
            os.close(self._fd)
            self._fd = None


def kept_bytes(folder: Path, file: ModelFile) -> int:
    """How much of a file the largest part holds."""
    return max((status.st_size for _, status in _parts(folder, file)), default=0)


def remove_abandoned(folder: Path, file: ModelFile) -> None:
    """Clean up the parts of dead processes."""
    for path, _ in _parts(folder, file):
        fd = _claim(path)
        if fd is not None:
            os.close(fd)  # first, for Windows
            with suppress(OSError):
                path.unlink()


def _stem(file: ModelFile) -> str:
    # With the hash in the name, no version of the library goes on with another one's file.
    return f"{file.name}.{file.sha256[:12]}"


def _parts(folder: Path, file: ModelFile) -> list[tuple[Path, os.stat_result]]:
    """All parts of a file, largest first; regular files only, never a link to somewhere else."""
    found = []
    for path in folder.glob(f"{_stem(file)}.*.part"):
        with suppress(OSError):  # another process has just renamed it
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                found.append((path, status))
    return sorted(found, key=lambda each: each[1].st_size, reverse=True)


def _take_over(folder: Path, file: ModelFile, own: Path) -> int | None:
    for path, _ in _parts(folder, file):
        fd = _claim(path)
        if fd is None:
            continue
        if sys.platform == "win32":  # renaming fails there while a living process has it open
            os.close(fd)
        try:
            path.rename(own)
        except OSError:
            if sys.platform != "win32":
                os.close(fd)
            continue
        return os.open(own, _FLAGS) if sys.platform == "win32" else fd
    return None


def _claim(path: Path) -> int | None:
    """Open and lock a part that a dead process left; None when its process lives."""
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return None
    try:
        got = lock(fd)
        status = path.lstat()
        # Its process may have finished it, or another one renamed it, before the lock was ours.
        mine = got is not False and os.path.samestat(os.fstat(fd), status)
        if mine and got is None:
            mine = time.time() - status.st_mtime > ABANDONED_S
            if mine:
                os.utime(path)  # under its new name, nobody else takes it for abandoned
        if mine:
            return fd
    except OSError:
        pass  # gone
    os.close(fd)
    return None

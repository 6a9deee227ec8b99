"""Partial files, in which an interrupted download is kept for the next one.

Each process writes to a partial file of its own, ``<name>.<start of sha256>.<pid>-<token>.part``,
and holds a lock on it. A process adopts the partial file of a dead one by locking and renaming it,
which only one process can do; the others start a new one.
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

from ..._atomic import sync_folder
from ..registry import ModelFile
from .locks import lock, unlock

__all__ = ["DiskError", "PartialFile", "disk_errors", "partial_size", "remove_stale"]

# Seconds. On file systems without locks, a partial file not written to for so long is stale.
STALE_AFTER_S = 3600.0
_FLAGS = os.O_RDWR | getattr(os, "O_BINARY", 0)  # O_BINARY exists on Windows only


class DiskError(Exception):
    """A file or folder could not be written. The cause is the OSError."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn each OSError into a `DiskError`, to distinguish it from network and callback errors."""
    try:
        yield
    except OSError as err:
        raise DiskError(f"cannot write {path}: {err.strerror or err}") from err


class PartialFile:
    """The received part of a file and its hash; create it with `open`."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.size = 0
        self._hash = hashlib.sha256()
        self._fd: int | None = fd

    @classmethod
    @contextmanager
    def open(cls, folder: Path, file: ModelFile) -> Iterator[PartialFile]:
        """Adopt the largest stale partial file or create one; keep it on exit unless empty."""
        path = folder / f"{_stem(file)}.{os.getpid()}-{secrets.token_hex(4)}.part"
        with disk_errors(path):
            fd = _adopt(folder, file, path)
            if fd is None:
                fd = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666)
                lock(fd)
        partial = cls(path, fd)
        try:
            with disk_errors(path):
                size = os.fstat(fd).st_size
                partial.truncate(size if size <= file.size else 0)
            remove_stale(folder, file)  # the smaller ones
            yield partial
        finally:
            partial._close()
            if partial.size == 0:
                with suppress(OSError):
                    path.unlink()

    @property
    def sha256(self) -> str:
        """The SHA-256 of the bytes received so far, in hexadecimal."""
        return self._hash.hexdigest()

    def append(self, data: bytes) -> None:
        """Write at the end, unbuffered, so that the bytes survive a kill."""
        assert self._fd is not None
        view = memoryview(data)
        with disk_errors(self.path):
            while view:
                count = os.write(self._fd, view)
                self._hash.update(view[:count])
                self.size += count
                view = view[count:]

    def truncate(self, size: int) -> None:
        """Keep only the first `size` bytes."""
        assert self._fd is not None
        with disk_errors(self.path):
            os.ftruncate(self._fd, size)
            os.lseek(self._fd, 0, os.SEEK_SET)
            self._hash = hashlib.sha256()
            self.size = 0
            while block := os.read(self._fd, 1 << 20):
                self._hash.update(block)
                self.size += len(block)

    def commit(self, target: Path) -> os.stat_result:
        """Flush the file to disk and rename it to its final name.

        Returns
        -------
        os.stat_result
            The status before the rename, while no other process can replace the file.
        """
        assert self._fd is not None
        with disk_errors(target):
            os.fsync(self._fd)
            status = os.fstat(self._fd)
            if sys.platform == "win32":  # an open file cannot be renamed there
                self._close()
            self.path.replace(target)
            sync_folder(target.parent)
        return status

    def _close(self) -> None:
        if self._fd is not None:
            unlock(self._fd)
            os.close(self._fd)
            self._fd = None


def partial_size(folder: Path, file: ModelFile) -> int:
    """Return the size of a file's largest partial file, 0 without one."""
    return max((status.st_size for _, status in _partials(folder, file)), default=0)


def remove_stale(folder: Path, file: ModelFile) -> None:
    """Delete the partial files of processes that have ended."""
    for path, _ in _partials(folder, file):
        fd = _try_lock_stale(path)
        if fd is not None:
            os.close(fd)  # before unlink, which Windows refuses for an open file
            with suppress(OSError):
                path.unlink()


def _stem(file: ModelFile) -> str:
    # The hash in the name keeps versions of the library from resuming each other's files.
    return f"{file.name}.{file.sha256[:12]}"


def _partials(folder: Path, file: ModelFile) -> list[tuple[Path, os.stat_result]]:
    """Return the partial files of a file, largest first; links are ignored."""
    found = []
    for path in folder.glob(f"{_stem(file)}.*.part"):
        with suppress(OSError):  # another process has just renamed it
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                found.append((path, status))
    return sorted(found, key=lambda each: each[1].st_size, reverse=True)


def _adopt(folder: Path, file: ModelFile, target: Path) -> int | None:
    """Rename the largest stale partial file to `target` and return it opened and locked."""
    for path, _ in _partials(folder, file):
        fd = _try_lock_stale(path)
        if fd is None:
            continue
        if sys.platform == "win32":  # the rename fails there while a living process has it open
            os.close(fd)
        try:
            path.rename(target)
        except OSError:
            if sys.platform != "win32":
                os.close(fd)
            continue
        if sys.platform == "win32":
            fd = os.open(target, _FLAGS)
            lock(fd)
        return fd
    return None


def _try_lock_stale(path: Path) -> int | None:
    """Open and lock a partial file; return None while its process lives."""
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return None
    try:
        locked = lock(fd)
        status = path.lstat()
        # Before the lock was taken, its process may have committed it, or another adopted it.
        owned = locked is not False and os.path.samestat(os.fstat(fd), status)
        if owned and locked is None:
            owned = time.time() - status.st_mtime > STALE_AFTER_S
            if owned:
                os.utime(path)  # so that other processes do not consider the renamed file stale
        if owned:
            return fd
    except OSError:
        pass  # it was deleted or renamed meanwhile
    os.close(fd)
    return None

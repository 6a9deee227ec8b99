"""Opening model files: a readable error for whatever is not the file that it should be."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path

from ...errors import ModelFormatError

__all__ = ["foreign", "map_file", "read_small"]


def foreign(head: bytes) -> str | None:
    """Say what a file's first bytes give away, where that is no model file at all."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return "an HTML page (a download went wrong: fetch the file again)"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file that it points to (run `git lfs pull`)"
    if start.startswith((b"pk\x03\x04", b"\x1f\x8b")):
        return "a packed archive (unpack it first)"
    return None


def _open(path: Path, what: str) -> tuple[int, int]:
    try:
        # O_NONBLOCK: a named pipe must be refused, not waited for.
        descriptor = os.open(
            path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        )
    except (OSError, ValueError) as err:
        raise ModelFormatError(f"{path}: the {what} cannot be opened: {err}") from err
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ModelFormatError(f"{path}: the {what} is no regular file")
    if status.st_size == 0:
        os.close(descriptor)
        raise ModelFormatError(f"{path}: the {what} is empty (0 bytes)")
    return descriptor, status.st_size


def _refuse_foreign(head: bytes, path: Path, what: str) -> None:
    kind = foreign(head)
    if kind is not None:
        raise ModelFormatError(f"{path}: this is no {what} but {kind}")


def read_small(path: Path, what: str, limit: int) -> bytes:
    """Read a file of at most `limit` bytes, the `what` of a model."""
    descriptor, size = _open(path, what)
    with os.fdopen(descriptor, "rb") as file:
        if size > limit:
            raise ModelFormatError(f"{path}: {size} bytes are too many for a {what} ({limit} go)")
        try:
            data = file.read(limit + 1)
        except OSError as err:
            raise ModelFormatError(f"{path}: the {what} cannot be read: {err}") from err
    _refuse_foreign(data[:512], path, what)
    return data


def map_file(path: Path, what: str) -> mmap.mmap:
    """Map a file into memory, read-only; its pages are read when they are looked at."""
    descriptor, _ = _open(path, what)
    try:
        mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as err:
        raise ModelFormatError(f"{path}: the {what} cannot be mapped: {err}") from err
    finally:
        os.close(descriptor)
    _refuse_foreign(mapped[:512], path, what)
    return mapped

"""Open and map model files, with an error for every file that is not a model."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np

from .._signatures import FileKind, sniff
from .._typing import AnyArray
from ..errors import ModelFormatError

__all__ = ["map_file", "read_small", "release_pages"]

_FOREIGN: dict[FileKind, str] = {
    "html": "an HTML page (a failed download; download the file again)",
    "xml": "an HTML page (a failed download; download the file again)",
    "git-lfs": "a Git LFS pointer (run `git lfs pull`)",
    "archive": "an archive (unpack it first)",
}


def read_small(path: Path, role: str, max_bytes: int) -> bytes:
    """Read a file of at most `max_bytes`; `role` names it in errors ("prototxt")."""
    descriptor, size = _open(path, role)
    with os.fdopen(descriptor, "rb") as file:
        if size > max_bytes:
            raise ModelFormatError(f"{path}: the {role} has {size} bytes, the limit is {max_bytes}")
        try:
            data = file.read(max_bytes + 1)
        except OSError as err:
            raise ModelFormatError(f"{path}: cannot read the {role}: {_reason(err)}") from err
    _reject_foreign(data[:512], path, role)
    return data


def map_file(path: Path, role: str, *, has_header: bool = True) -> mmap.mmap:
    """Map a file into memory, read-only; `role` names it in errors ("caffemodel").

    Without a header it may start with any bytes, so that it is not checked for other formats.
    """
    descriptor, _ = _open(path, role)
    try:
        mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as err:
        raise ModelFormatError(
            f"{path}: cannot map the {role} into memory: {_reason(err)}"
        ) from err
    finally:
        os.close(descriptor)
    if has_header:
        _reject_foreign(mapped[:512], path, role)
    return mapped


def release_pages(values: AnyArray) -> None:
    """Return the memory of the mapped file behind an array to the system; it is read again on use.

    Without, 123 MiB of zhang2016's file stay in memory while OpenCV makes its own copy of them.
    """
    base: Any = values
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def _open(path: Path, role: str) -> tuple[int, int]:
    """Open a regular, non-empty file and return its descriptor and size in bytes."""
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for a writer.
        descriptor = os.open(
            path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        )
    except (OSError, ValueError) as err:
        raise ModelFormatError(f"{path}: cannot open the {role}: {_reason(err)}") from err
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise ModelFormatError(f"{path}: the {role} is not a regular file")
    if status.st_size == 0:
        os.close(descriptor)
        raise ModelFormatError(f"{path}: the {role} is empty (0 bytes)")
    return descriptor, status.st_size


def _reason(err: OSError | ValueError) -> str:
    """Return the system's message without the path, which the error names already."""
    return getattr(err, "strerror", None) or str(err)


def _reject_foreign(head: bytes, path: Path, role: str) -> None:
    kind = sniff(head)
    if kind is not None:
        raise ModelFormatError(f"{path}: expected a {role}, got {_FOREIGN[kind]}")

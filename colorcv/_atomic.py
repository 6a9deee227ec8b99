"""`publish`: rename a finished temporary file to its final name in one atomic step."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["publish", "sync_folder"]


def publish(temporary: Path, target: Path, *, overwrite: bool) -> None:
    """Flush a finished temporary file to disk, then rename it to its final name.

    Parameters
    ----------
    temporary : Path
        A closed file in the folder of `target`.
    target : Path
        The final name.
    overwrite : bool
        Replace an existing file. If False, the name is claimed atomically: if two processes
        publish the same name, one of them gets FileExistsError.

    Raises
    ------
    FileExistsError
        `target` exists and `overwrite` is False; `temporary` is kept.
    OSError
        The file cannot be flushed or renamed.
    """
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    if overwrite:
        temporary.replace(target)
    else:
        _rename_exclusively(temporary, target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk; do nothing where the system cannot (Windows)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _rename_exclusively(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except FileExistsError:
        raise
    except OSError:
        # File systems without hard links (FAT, some network shares): an empty file claims the
        # name, which the rename then replaces.
        target.touch(exist_ok=False)
        try:
            source.replace(target)
        except OSError:
            target.unlink(missing_ok=True)
            raise
    else:
        source.unlink()

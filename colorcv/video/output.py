"""A film's file under a temporary name until it is complete."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import zlib
from pathlib import Path

from .._atomic import publish
from .._naming import tagged_path
from ..errors import VideoError

__all__ = ["Unfinished", "check_output", "default_output"]

_HOST = f"{zlib.crc32(platform.node().encode()):08x}"
_TEMPORARY = re.compile(r"^\..*\.colorcv-([0-9a-f]{8})-([0-9]+)\.[^.]*$")
_ACTIVE: set[Path] = set()  # what this process is writing
# Containers that take H.264 (or VP9, for .webm); a source of another kind is written as .mp4.
KEPT_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".flv"}


def default_output(source: str | os.PathLike[str]) -> Path:
    """Return where a film goes that names no output: ``<stem>.color<ext>`` beside the source.

    A source in a container that cannot hold the default codec (``.wmv``, ``.gif``, ...) becomes
    ``<stem>.color.mp4``.
    """
    path = Path(source)
    suffix = path.suffix if path.suffix.lower() in KEPT_SUFFIXES else ".mp4"
    return tagged_path(path, suffix)


def check_output(output: Path, source: Path | None, overwrite: bool) -> None:
    """Refuse an output that is the source, exists, or lies in no folder, before any work.

    Raises
    ------
    VideoError
        What is in the way, and what to do.
    """
    if source is not None and output.exists() and output.samefile(source):
        raise VideoError(f"the output {output} is the film itself: choose another name")
    if not output.suffix:
        raise VideoError(f"the output {output} has no suffix to say its kind: add .mp4 or .mkv")
    if output.is_dir():
        raise VideoError(f"the output {output} is a folder: name a file in it")
    if output.exists() and not overwrite:
        raise VideoError(
            f"{output} exists already: choose another name, or say overwrite=True (--force)"
        )
    if not output.parent.is_dir():
        raise VideoError(f"the folder {output.parent} is not there: make it first")
    if not os.access(output.parent, os.W_OK):
        raise VideoError(f"the folder {output.parent} cannot be written to: choose another")


class Unfinished:
    """The temporary file of one output, in the same folder; gone unless it is finished.

    What processes that died have left in the folder is removed first.
    """

    def __init__(self, output: Path, overwrite: bool) -> None:
        self._output = output
        self._overwrite = overwrite
        _remove_orphans(output.parent)
        self.path = output.with_name(
            f".{output.stem[:30]}.colorcv-{_HOST}-{os.getpid()}{output.suffix}"
        )
        if self.path in _ACTIVE:
            raise VideoError(f"{output} is being written already by this process")
        self.discard()  # left by a dead process that had the same number, as in containers
        _ACTIVE.add(self.path)

    @property
    def with_sound(self) -> Path:
        """A second temporary name, for the film that a muxer has given its sound."""
        return self.path.with_name(f".sound{self.path.name}")

    def finish(self) -> None:
        """Bring what was written to the disk, then give it its final name.

        Raises
        ------
        VideoError
            The name was taken meanwhile, or the disk refuses.
        """
        try:
            publish(self.path, self._output, overwrite=self._overwrite)
        except FileExistsError as err:
            raise VideoError(f"{self._output} has come to be while it was coloured: kept") from err
        except OSError as err:
            raise VideoError(f"{self._output} cannot be finished: {err}") from err

    def discard(self) -> None:
        """Remove the temporary files, if they are still there."""
        _ACTIVE.discard(self.path)
        for path in (self.path, self.with_sound):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _remove_orphans(folder: Path) -> None:
    for path in folder.glob(".*.colorcv-*"):
        found = _TEMPORARY.match(path.name)
        if found and found[1] == _HOST and not _is_alive(int(found[2])):
            with contextlib.suppress(OSError):
                path.unlink()


def _is_alive(pid: int) -> bool:
    if os.name == "nt":
        return False  # a file that is being written cannot be removed there anyway
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
        return False
    except OSError:
        return True
    return True

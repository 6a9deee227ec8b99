"""Default and temporary output paths of videos."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import time
import zlib
from pathlib import Path

from .._atomic import publish
from .._naming import tagged_path
from ..errors import VideoError

__all__ = ["TemporaryOutput", "check_output", "default_output"]

_HOST = f"{zlib.crc32(platform.node().encode()):08x}"
_TEMPORARY = re.compile(r"^\..*\.colorcv-([0-9a-f]{8})-([0-9]+)\.[^.]*$")
MAX_SILENCE_S = 600  # seconds; a file that has not changed for longer is not being written
_ACTIVE: set[Path] = set()  # temporary files that this process is writing
# Containers that take H.264 (or VP9, for .webm); other sources are written as .mp4.
H264_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mts", ".flv"}


def default_output(source: str | os.PathLike[str]) -> Path:
    """Return the path that is used if no output is given: ``<stem>.color<ext>`` beside the source.

    A source in a container that cannot hold the default codec (``.wmv``, ``.gif``, ...) becomes
    ``<stem>.color.mp4``.
    """
    path = Path(source)
    suffix = path.suffix if path.suffix.lower() in H264_SUFFIXES else ".mp4"
    return tagged_path(path, suffix)


def check_output(output: Path, source: Path | None, overwrite: bool) -> None:
    """Check, before any work, that the output can be written and would not replace anything.

    Raises
    ------
    VideoError
        The output is the source, exists, has no suffix, or its folder cannot be written to.
    """
    if source is not None and output.exists() and output.samefile(source):
        raise VideoError(f"{output} is the input itself; choose another output")
    if not output.suffix:
        raise VideoError(f"the output {output} has no suffix; add .mp4 or .mkv")
    if output.is_dir():
        raise VideoError(f"the output {output} is a folder; give a file name")
    if output.exists() and not overwrite:
        raise VideoError(f"{output} already exists; choose another name or pass overwrite=True")
    if not output.parent.is_dir():
        raise VideoError(f"the folder {output.parent} does not exist")
    if not os.access(output.parent, os.W_OK):
        raise VideoError(f"cannot write to the folder {output.parent}")


class TemporaryOutput:
    """The temporary file of one output, in the same folder.

    Creating one removes the temporary files that dead processes left in the folder.

    Parameters
    ----------
    output : Path
        The final name.
    overwrite : bool
        Replace a file of that name.

    Attributes
    ----------
    path : Path
        Where to write.

    Raises
    ------
    VideoError
        This process is writing the same output already.
    """

    def __init__(self, output: Path, overwrite: bool) -> None:
        self._output = output
        self._overwrite = overwrite
        _remove_stale(output.parent)
        self.path = output.with_name(
            f".{output.stem[:30]}.colorcv-{_HOST}-{os.getpid()}{output.suffix}"
        )
        if self.path in _ACTIVE:
            raise VideoError(f"{output} is already being written by this process")
        other = _writer_of(self.path)
        if other is not None:
            raise VideoError(f"{output} is already being written by process {other}")
        # In containers, a process that died may have had the same ID as this one.
        self.discard()
        _ACTIVE.add(self.path)

    @property
    def remux_path(self) -> Path:
        """A second temporary file, for the video with its audio added."""
        return self.path.with_name(f".sound{self.path.name}")

    def check(self) -> None:
        """Check that the work can still be finished.

        Raises
        ------
        VideoError
            The temporary file was removed, for instance with its folder, or the name was taken.
        """
        if not self.path.exists():
            raise VideoError(f"{self.path.parent} or the temporary file in it was removed")
        if not self._overwrite and os.path.lexists(self._output):
            raise VideoError(
                f"{self._output} was created in the meantime and is kept; choose another name"
            )

    def commit(self) -> None:
        """Flush the temporary file to disk and give it its final name.

        Raises
        ------
        VideoError
            The name was taken in the meantime, or the file cannot be flushed or renamed.
        """
        try:
            publish(self.path, self._output, overwrite=self._overwrite)
        except FileExistsError as err:
            raise VideoError(
                f"{self._output} was created in the meantime and is kept; choose another name"
            ) from err
        except OSError as err:
            raise VideoError(f"cannot write {self._output}: {err}") from err

    def discard(self) -> None:
        """Remove the temporary files, if they still exist."""
        _ACTIVE.discard(self.path)
        for path in (self.path, self.remux_path):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _writer_of(path: Path) -> int | None:
    """Return the process that writes the same output under its own temporary name, or None."""
    for other in path.parent.glob(f".*{path.suffix}"):
        found = _TEMPORARY.match(other.name)
        if found is None or found[1] != _HOST or int(found[2]) == os.getpid():
            continue
        name = path.name.replace(f"-{os.getpid()}.", f"-{found[2]}.")
        # In containers, another program may have the process ID in an old file's name by now.
        if other.name == name and time.time() - other.stat().st_mtime < MAX_SILENCE_S:
            return int(found[2])
    return None


def _remove_stale(folder: Path) -> None:
    for path in folder.glob(".*.colorcv-*"):
        found = _TEMPORARY.match(path.name)
        if found and found[1] == _HOST and not _is_alive(int(found[2])):
            with contextlib.suppress(OSError):
                path.unlink()


def _is_alive(pid: int) -> bool:
    if os.name == "nt":
        return False  # Windows does not remove files that are open
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
        return False
    except OSError:
        return True
    return True

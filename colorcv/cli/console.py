"""Output of the command: results on standard output, everything else on standard error."""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

__all__ = ["MAX_LISTED", "Console", "StandardOutputError", "as_flags"]

MAX_LISTED = 10  # lines printed of one kind; further ones are only counted

# Flags of the command for the keyword arguments that errors of the library name.
_SWITCHES = {
    "overwrite": "--force",
    "low_memory": "--low-memory",
    "ignore_border": "--keep-border-colors",
    "smooth": "--no-smooth",
    "hold_colors": "--no-hold-colors",
    "compare": "--compare",
}
_OPTIONS = [
    "model", "device", "memory", "saturation", "temperature", "max_pixels", "start", "end", "audio",
    "codec", "quality", "keyframe_interval", "preset", "size", "steering",
]  # fmt: skip
_ARGUMENT = re.compile(
    rf"""(?:\b(pass|use)\ )?\b({"|".join((*_SWITCHES, *_OPTIONS))})="""
    rf"""("[^"]*"|'[^']*'|\w+(?:\.\d+)?)"""
)


def as_flags(message: str) -> str:
    """Return the message with flags for keyword arguments.

    ``pass model="lite"`` and ``use model="lite"`` become ``use --model lite``. Without such a verb
    only quoted values are replaced, because others may be part of a file name.
    """

    def flag(found: re.Match[str]) -> str:
        verb, name, value = found.groups()
        if not verb and value[0] not in "\"'":
            return found[0]
        option = f"--{name.replace('_', '-')} " + value.strip("\"'")
        return ("use " if verb else "") + _SWITCHES.get(name, option)

    return _ARGUMENT.sub(flag, message)


class StandardOutputError(Exception):
    """Standard output cannot be written: it is closed, or its disk is full."""


@contextmanager
def _standard_output_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as err:
        raise StandardOutputError(
            f"cannot write to standard output: {err.strerror or err}"
        ) from err


class LiveLine(Protocol):
    """Something drawn on the last line of the terminal, such as a progress bar."""

    def clear(self) -> None:
        """Remove it from the terminal until it is drawn again."""

    def redraw(self) -> None:
        """Draw it again below the lines that were printed."""


class Console:
    """Lines on standard output and standard error, above the progress bar if there is one.

    Parameters
    ----------
    quiet : bool
        Print neither progress nor notes nor warnings, only results and errors.
    verbose : bool
        Print the library's INFO log messages too.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet, self.verbose = quiet, verbose
        self.live: LiveLine | None = None
        self.lock = threading.RLock()
        self._noted: set[str] = set()
        self._counts: Counter[str] = Counter()

    @property
    def has_progress(self) -> bool:
        """True if progress bars are shown: not quiet, and standard error is a terminal."""
        return not self.quiet and sys.stderr.isatty()

    def result(self, text: str) -> None:
        """Print a line on standard output; raise StandardOutputError if that fails."""
        with _standard_output_errors():
            self._write(sys.stdout, text)

    def result_bytes(self, data: bytes) -> None:
        """Write a file to standard output; raise StandardOutputError if that fails."""
        with _standard_output_errors():
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    def error(self, text: str) -> None:
        """Print an error on standard error, with flags in place of keyword arguments."""
        self._write(sys.stderr, f"colorcv: {as_flags(text)}")

    def _write(self, stream: TextIO, text: str) -> None:
        with self.lock:
            if self.live is not None:
                self.live.clear()
            stream.write(f"{text}\n")
            stream.flush()
            if self.live is not None:
                self.live.redraw()

    def note(self, text: str) -> None:
        """Print a note on standard error, unless quiet."""
        if not self.quiet:
            self.error(text)

    def note_once(self, text: str) -> None:
        """Print a note, unless the same one was printed before."""
        with self.lock:
            if text not in self._noted:
                self._noted.add(text)
                self.note(text)

    def note_listed(self, kind: str, text: str) -> None:
        """Print a note, or only count it after `MAX_LISTED` of its kind; see `note_counts`."""
        with self.lock:
            self._counts[kind] += 1
            if self._counts[kind] <= MAX_LISTED:
                self.note(text)

    def note_counts(self) -> None:
        """Print how many notes of each kind were not printed: ``... and N more <kind>``."""
        for kind, count in self._counts.items():
            if count > MAX_LISTED:
                self.note(f"... and {count - MAX_LISTED} more {kind}")
        self._counts.clear()

    @contextmanager
    def show_logs(self) -> Iterator[None]:
        """Print the messages of the logger ``colorcv``: warnings, and INFO if verbose."""
        logger = logging.getLogger("colorcv")
        handler, level = _ConsoleHandler(self), logger.level
        handler.setLevel(logging.INFO if self.verbose else logging.WARNING)
        logger.addHandler(handler)
        if self.verbose:
            logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)


class _ConsoleHandler(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.WARNING:
            message = f"{record.levelname.lower()}: {message}"
        self._console.note(message)

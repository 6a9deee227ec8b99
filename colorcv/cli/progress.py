"""Progress on standard error: tqdm if installed, else a line of text."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from typing import Any

from .console import Console

__all__ = ["Activity", "ProgressBar"]

_DELAY_S = 2.0  # before an activity is shown
_ERASE_LINE = "\r\033[K"


class ProgressBar:
    """A progress bar, drawn from the first update on, if `Console.has_progress`.

    Parameters
    ----------
    console : Console
    unit : str
        ``"B"`` for bytes, shown as MB; any other unit is counted.
    label : str
        Text before the bar.
    total : int, optional
        Number of units, if known.
    """

    def __init__(
        self, console: Console, unit: str, label: str = "", total: int | None = None
    ) -> None:
        self.unit, self.label, self.total, self.done = unit, label, total, 0
        self._console = console
        self._is_drawn = False
        self._last_drawn = 0.0
        self._start = time.monotonic()
        self._tqdm: Any = None
        if console.has_progress:
            with suppress(ImportError):
                from tqdm import tqdm

                self._tqdm = tqdm(
                    total=total,
                    desc=label,
                    unit=unit if unit == "B" else f" {unit}",
                    unit_scale=unit == "B",
                    file=sys.stderr,
                    delay=1e-3,  # draws nothing before the first update
                )

    def update_to(self, done: int, total: int | None = None) -> None:
        """Set how many units are done, and optionally the total."""
        with self._console.lock:
            self.total = self.total if total is None else total
            previous, self.done = self.done, done
            if not self._console.has_progress:
                return
            self._console.live = self
            self._is_drawn = True
            if self._tqdm is not None:
                self._tqdm.total = self.total
                self._tqdm.update(done - previous)
            elif time.monotonic() - self._last_drawn > 0.2 or done == self.total:
                self.redraw()

    def clear(self) -> None:
        """Remove the bar from the terminal until it is drawn again."""
        if self._tqdm is not None:
            self._tqdm.clear()
        else:
            sys.stderr.write(_ERASE_LINE)
            sys.stderr.flush()

    def redraw(self) -> None:
        """Draw the bar on the last line."""
        if self._tqdm is not None:
            self._tqdm.refresh()
            return
        self._last_drawn = time.monotonic()
        sys.stderr.write(_ERASE_LINE + self._format(self.done, self._last_drawn))
        sys.stderr.flush()

    def _format(self, done: int, now: float) -> str:
        scale, unit = (1e6, "MB") if self.unit == "B" else (1.0, self.unit)
        rate = done / scale / max(now - self._start, 1e-6)
        of_total = f"/{self.total / scale:.0f}" if self.total else ""
        remaining = (
            f", {(self.total - done) / scale / rate:.0f} s left" if self.total and rate else ""
        )
        return f"{self.label} {done / scale:.0f}{of_total} {unit}, {rate:.1f} {unit}/s{remaining}"

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        with self._console.lock:
            if self._console.live is self:
                self._console.live = None
            if self._tqdm is not None:
                self._tqdm.close()
            elif self._is_drawn:
                sys.stderr.write("\n")
                sys.stderr.flush()


class Activity:
    """A line with the elapsed seconds, shown if the work takes longer than 2 s on a terminal."""

    def __init__(self, console: Console, label: str) -> None:
        self._console, self._label = console, label
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_drawn = False

    def _run(self) -> None:
        start = time.monotonic()
        delay = _DELAY_S
        while not self._ended.wait(delay):
            delay = 1.0
            with self._console.lock:
                if self._ended.is_set():
                    return
                elapsed = time.monotonic() - start
                sys.stderr.write(f"{_ERASE_LINE}{self._label}, {elapsed:.0f} s")
                sys.stderr.flush()
                self._console.live = self
                self._is_drawn = True

    def clear(self) -> None:
        """Remove the line from the terminal until the next second."""
        if self._is_drawn:
            sys.stderr.write(_ERASE_LINE)
            sys.stderr.flush()
            self._is_drawn = False

    def redraw(self) -> None:
        """Do nothing, because the line is drawn again within a second."""

    def __enter__(self) -> Activity:
        if self._console.has_progress:
            self._thread = threading.Thread(target=self._run, name="colorcv-activity", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with self._console.lock:
            self.clear()
            if self._console.live is self:
                self._console.live = None
        if self._thread is not None:
            self._thread.join()

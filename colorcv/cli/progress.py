"""Progress bar on standard error: tqdm if installed, else a line of text."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import Any

__all__ = ["ProgressBar"]


class ProgressBar:
    """A progress bar, shown only if standard error is a terminal.

    Parameters
    ----------
    unit : str
        ``"B"`` for bytes, shown as MB; any other unit is counted.
    label : str
        Text before the bar.
    total : int, optional
        Number of units, if known.
    """

    def __init__(self, unit: str, label: str = "", total: int | None = None) -> None:
        self.unit, self.label, self.total, self.done = unit, label, total, 0
        self._shown = sys.stderr.isatty()
        self._last_drawn = 0.0
        self._started = time.monotonic()
        self._tqdm: Any = None
        if self._shown:
            with suppress(ImportError):
                from tqdm import tqdm

                self._tqdm = tqdm(
                    total=total, desc=label, unit=unit, unit_scale=unit == "B", file=sys.stderr
                )

    def update_to(self, done: int, total: int | None = None) -> None:
        """Set how many units are done, and optionally the total."""
        if total is not None:
            self.total = total
        if self._tqdm is not None:
            self._tqdm.total = self.total
            self._tqdm.update(done - self.done)
        self.done = done
        now = time.monotonic()
        if (
            self._shown
            and self._tqdm is None
            and (now - self._last_drawn > 0.2 or done == self.total)
        ):
            self._last_drawn = now
            sys.stderr.write(f"\r\033[K{self._format(now)}")
            sys.stderr.flush()

    def _format(self, now: float) -> str:
        scale, unit = (1e6, "MB") if self.unit == "B" else (1.0, self.unit)
        rate = self.done / scale / max(now - self._started, 1e-6)
        of_total = f"/{self.total / scale:.0f}" if self.total else ""
        remaining = (
            f", {(self.total - self.done) / scale / rate:.0f} s left" if self.total and rate else ""
        )
        return (
            f"{self.label} {self.done / scale:.0f}{of_total} {unit}, {rate:.1f} {unit}/s{remaining}"
        )

    def write(self, text: str, *, error: bool = False) -> None:
        """Print a line above the bar, on standard output or standard error."""
        if self._tqdm is not None:
            self._tqdm.clear()
        elif self._shown and self._last_drawn:
            sys.stderr.write("\r\033[K")
        stream = sys.stderr if error else sys.stdout
        stream.write(text + "\n")
        stream.flush()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._tqdm is not None:
            self._tqdm.close()
        elif self._shown and self._last_drawn:
            sys.stderr.write("\n")

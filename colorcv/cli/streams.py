"""`open_standard_streams`: replace standard streams that the caller has closed."""

from __future__ import annotations

import os
import sys

__all__ = ["open_standard_streams"]


def open_standard_streams() -> None:
    """Open the standard streams that are closed (``<&-``, ``>&-``, ``2>&-``) in their places.

    Python sets them to None. Worse, the next files that are opened would get their descriptors 0 to
    2, and what libraries in C print on standard error would end up in a photo. An empty input takes
    the place of standard input; standard error is discarded; writing to standard output fails, as
    it does in other programs.
    """
    flags = os.O_RDONLY, os.O_RDONLY, os.O_WRONLY
    for expected, flag in enumerate(flags):  # the lowest free descriptor is taken
        try:
            os.fstat(expected)
        except OSError:
            descriptor = os.open(os.devnull, flag)
            if descriptor == expected:
                os.set_inheritable(descriptor, True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115

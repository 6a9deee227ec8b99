"""Exit codes of the command."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """Exit code of the command."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    NO_MODEL = 3
    INTERRUPTED = 130  # 128 + SIGINT, as shells report it

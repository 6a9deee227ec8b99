"""The command ``colorcv``."""

from __future__ import annotations

TYPE_CHECKING = False  # nothing is imported before `main` can handle Ctrl-C
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command, by default with the arguments of the process; return its exit code."""
    try:
        from .parser import main as run_command

        return run_command(argv)
    except KeyboardInterrupt:  # during the imports; later ones are handled there
        return 130

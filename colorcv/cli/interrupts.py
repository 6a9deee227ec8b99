"""`interrupts_as_such`: keep Ctrl-C a KeyboardInterrupt while modules are imported."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interrupts_as_such"]


@contextmanager
def interrupts_as_such() -> Iterator[None]:
    """Raise KeyboardInterrupt for an ImportError that Ctrl-C has caused.

    NumPy imports datetime in C, and reports a KeyboardInterrupt there as an ImportError that asks
    the user to check the installation.
    """
    previous = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if previous is not signal.default_int_handler or not is_main:
        yield
        return
    is_interrupted = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal is_interrupted
        is_interrupted = True
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    except ImportError as err:
        if is_interrupted:
            raise KeyboardInterrupt from err
        raise
    finally:
        signal.signal(signal.SIGINT, previous)

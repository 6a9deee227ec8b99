"""Threads that hand a film on, a few frames at a time: bounded, and never left behind."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, TypeVar, cast

__all__ = ["Crew", "Lane"]

T = TypeVar("T")

_END = object()
_PATIENCE_S = 0.1  # how often a thread that waits looks whether the work was called off


class CalledOffError(Exception):
    """The work was called off; only ever seen inside a crew."""


class Lane(Generic[T]):
    """A queue between two threads that holds a few items and ends when the work is called off."""

    def __init__(self, length: int, called_off: threading.Event) -> None:
        self._queue: queue.Queue[object] = queue.Queue(length)
        self._called_off = called_off

    def put(self, item: T) -> None:
        """Hand an item on; wait while the lane is full."""
        self._put(item)

    def close(self) -> None:
        """Say that nothing more comes."""
        self._put(_END)

    def _put(self, item: object) -> None:
        while not self._called_off.is_set():
            try:
                self._queue.put(item, timeout=_PATIENCE_S)
            except queue.Full:
                continue
            return
        raise CalledOffError

    def __iter__(self) -> Iterator[T]:
        while not self._called_off.is_set():
            try:
                item = self._queue.get(timeout=_PATIENCE_S)
            except queue.Empty:
                continue
            if item is _END:
                return
            yield cast(T, item)
        raise CalledOffError


class Crew:
    """Threads with one fate: the first error calls all of them off and comes out of the block.

    Leaving the block by any exception, Ctrl-C too, calls the threads off and waits for them.
    """

    def __init__(self) -> None:
        self._called_off = threading.Event()
        self._threads: list[threading.Thread] = []
        self._first_error: BaseException | None = None
        self._lock = threading.Lock()

    def lane(self, length: int) -> Lane[T]:
        """Return a queue that ends with this crew's work."""
        return Lane(length, self._called_off)

    def start(self, work: Callable[[], None], name: str) -> None:
        """Run `work` in a thread of its own."""

        def run() -> None:
            try:
                work()
            except CalledOffError:
                pass
            except BaseException as err:
                with self._lock:
                    self._first_error = self._first_error or err
                self._called_off.set()

        thread = threading.Thread(target=run, name=f"colorcv-film-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._called_off.set()
        interruption = self._wait()
        if error is None and interruption is not None:
            raise interruption
        if self._first_error is not None and (
            error is None or isinstance(error, (CalledOffError, GeneratorExit))
        ):
            raise self._first_error from None

    def _wait(self) -> BaseException | None:
        """Wait for every thread, whatever comes: none may outlive the files it works on."""
        interruption: BaseException | None = None
        for thread in self._threads:
            while thread.is_alive():
                try:
                    thread.join(_PATIENCE_S)
                except BaseException as err:
                    interruption = interruption or err
                    self._called_off.set()
        return interruption

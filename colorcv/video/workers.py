"""Worker threads with bounded queues: `WorkerGroup` and `BoundedQueue`."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, TypeVar, cast

__all__ = ["BoundedQueue", "WorkerGroup"]

T = TypeVar("T")

_SENTINEL = object()
_POLL_INTERVAL_S = 0.1  # between checks for cancellation


class CancelledError(Exception):
    """The group was cancelled; never leaves a `WorkerGroup`."""


class BoundedQueue(Generic[T]):
    """A queue of limited length between two threads; cancelling its group ends it."""

    def __init__(self, length: int, cancelled: threading.Event) -> None:
        self._queue: queue.Queue[object] = queue.Queue(length)
        self._cancelled = cancelled

    def put(self, item: T) -> None:
        """Add an item; block while the queue is full."""
        self._put(item)

    def close(self) -> None:
        """Mark the end: iteration stops after the items already added."""
        self._put(_SENTINEL)

    def _put(self, item: object) -> None:
        while not self._cancelled.is_set():
            try:
                self._queue.put(item, timeout=_POLL_INTERVAL_S)
            except queue.Full:
                continue
            return
        raise CancelledError

    def __iter__(self) -> Iterator[T]:
        while not self._cancelled.is_set():
            try:
                item = self._queue.get(timeout=_POLL_INTERVAL_S)
            except queue.Empty:
                continue
            if item is _SENTINEL:
                return
            yield cast(T, item)
        raise CancelledError


class WorkerGroup:
    """A group of threads; the first exception cancels the others and is re-raised.

    Leaving the ``with`` block by an exception, Ctrl-C included, cancels the threads. In any case
    the block ends only when all of them have ended.
    """

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self._threads: list[threading.Thread] = []
        self._first_error: BaseException | None = None
        self._lock = threading.Lock()

    def queue(self, length: int) -> BoundedQueue[T]:
        """Return a new queue that ends when the group is cancelled."""
        return BoundedQueue(length, self._cancelled)

    def start(self, target: Callable[[], None], name: str) -> None:
        """Run `target` in a new thread."""

        def run() -> None:
            try:
                target()
            except CancelledError:
                pass
            except BaseException as err:
                with self._lock:
                    self._first_error = self._first_error or err
                self._cancelled.set()

        thread = threading.Thread(target=run, name=f"colorcv-video-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def __enter__(self) -> WorkerGroup:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._cancelled.set()
        interruption = self._join()
        if error is None and interruption is not None:
            raise interruption
        if self._first_error is not None and (
            error is None or isinstance(error, (CancelledError, GeneratorExit))
        ):
            raise self._first_error from None

    def _join(self) -> BaseException | None:
        """Join every thread and return the first interruption (Ctrl-C) on the way, or None.

        No thread may outlive the files that it works on, so interruptions do not end the wait.
        """
        interruption: BaseException | None = None
        for thread in self._threads:
            while thread.is_alive():
                try:
                    thread.join(_POLL_INTERVAL_S)
                except BaseException as err:
                    interruption = interruption or err
                    self._cancelled.set()
        return interruption

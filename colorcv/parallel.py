"""Several strips of a picture at once, on the threads that OpenCV may use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import cv2

__all__ = ["ordered"]

Item = TypeVar("Item")
Result = TypeVar("Result")

# Below this, starting threads costs more than they gain.
_FEW = 8


def ordered(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Give the results of the work in the order of the items, a few of them ahead.

    OpenCV's own threads serve inside its slower functions; these serve all between, which is
    half of the time.

    Parameters
    ----------
    work : callable
        Called from several threads, as many as ``cv2.getNumThreads()``.
    items : sequence
    """
    threads = cv2.getNumThreads()
    if threads < 2 or len(items) < _FEW:
        yield from map(work, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="colorcv") as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

"""Several pieces of work at once, their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ordered"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered(
    work: Callable[[Item], Result], items: Sequence[Item], threads: int
) -> Iterator[Result]:
    """Give the results of the work in the order of the items, as many ahead as there are threads.

    OpenCV's own threads serve inside its slower functions; these serve all between.

    Parameters
    ----------
    work : callable
        Called from several threads.
    items : sequence
    threads : int
        1 calls the work in the caller's own thread.
    """
    if threads < 2 or len(items) < 2:
        yield from map(work, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="colorcv") as pool:
        try:
            waiting.append(pool.submit(work, items[0]))
        except RuntimeError:  # no thread to be had: at a limit, or at the interpreter's end
            yield from map(work, items)
            return
        for item in items[1:]:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

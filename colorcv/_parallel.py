"""Several pieces of work at once, their results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache
from typing import TypeVar

__all__ = ["ordered_map"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    work: Callable[[Item], Result], items: Sequence[Item], threads: int, *, name: str = "colorcv"
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
    name : str
        Of the pool of threads, which is kept. Work that itself does ordered work needs another.
    """
    if threads < 2 or len(items) < 2:
        yield from map(work, items)
        return
    pool = _pool(name, threads)
    waiting: deque[Future[Result]] = deque()
    try:
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
    finally:
        wait([future for future in waiting if not future.cancel()])


# Kept, because OpenCV's resize leaves a kilobyte behind in every thread that ends: 300 MB in an
# hour of film.
@lru_cache(maxsize=8)
def _pool(name: str, threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix=name)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # its threads are not in the child

"""`ordered_map`: parallel map with results in input order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache
from itertools import chain, islice
from typing import TypeVar

__all__ = ["ordered_map"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    func: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int,
    *,
    name: str = "colorcv-strips",
) -> Iterator[Result]:
    """Yield ``func(item)`` for each item, in order, at most `threads` + 1 items ahead.

    OpenCV runs only its slower functions on several threads; this also covers the NumPy work
    between them.

    Parameters
    ----------
    func : callable
        Called from several threads.
    items : iterable
        Read in the caller's thread, as results are taken.
    threads : int
        Size of the thread pool; with 1, `func` runs in the caller's thread.
    name : str
        Name of the thread pool, which is kept and shared by all calls of this name and size. A
        `func` that calls `ordered_map` itself must pass another name, or the calls may deadlock.

    Yields
    ------
    object
        ``func(item)``. An exception of `func` is raised in place of its result.
    """
    if threads < 2:
        yield from map(func, items)
        return
    iterator = iter(items)
    first = list(islice(iterator, 2))
    items = chain(first, iterator)
    if len(first) < 2:
        yield from map(func, items)
        return
    pool = _pool(name, threads)
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            try:
                pending.append(pool.submit(func, item))
            except RuntimeError:  # no more threads: a system limit, or interpreter shutdown
                if pending:
                    raise
                yield func(item)
                yield from map(func, items)
                return
            if len(pending) > threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        wait([future for future in pending if not future.cancel()])


# cv2.resize leaks about 1 kB per finished thread (300 MB per hour of video), so pools are kept.
@lru_cache(maxsize=8)
def _pool(name: str, threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix=name)


if hasattr(os, "register_at_fork"):
    # A forked child does not have the pool's threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)

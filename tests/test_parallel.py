"""`ordered_map`: order, look-ahead, errors and the shortage of threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from colorcv._parallel import ordered_map


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_results_are_complete_and_in_order(threads: int, count: int) -> None:
    def func(item: int) -> int:
        time.sleep(0.001 * (item % 3))
        return item * item

    expected = [item * item for item in range(count)]
    assert list(ordered_map(func, range(count), threads)) == expected
    assert list(ordered_map(func, iter(range(count)), threads)) == expected


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_an_iterator_is_read_as_results_are_taken(threads: int) -> None:
    read = 0

    def source() -> Iterator[int]:
        nonlocal read
        for item in range(100):
            read += 1
            yield item

    for taken, _ in enumerate(ordered_map(str, source(), threads), 1):
        assert read - taken <= threads + 1


def test_an_error_is_raised_at_its_place() -> None:
    results = ordered_map(lambda item: 1 // item, [1, 2, 0, 3], 2)
    assert [next(results), next(results)] == [1, 0]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_without_threads_the_caller_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("concurrent.futures.ThreadPoolExecutor.submit", refuse)
    caller = threading.get_ident()
    idents = ordered_map(lambda _: threading.get_ident(), iter(range(5)), 3, name="no-threads")
    assert list(idents) == [caller] * 5

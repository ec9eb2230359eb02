"""Threads that wait for the same work have it done at once, and each gets its own result."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cnnstudy.cluster.batches import Batches


def test_what_waits_is_handled_together() -> None:
    batches: list[list[int]] = []
    is_free = threading.Event()

    def double(items: list[int]) -> list[int | Exception]:
        batches.append(items)
        is_free.wait(30)
        return [2 * item for item in items]

    doubled = Batches(double)
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(doubled, item) for item in range(8)]
        time.sleep(0.2)
        is_free.set()
        assert [future.result() for future in futures] == [2 * item for item in range(8)]
    assert len(batches) <= 3
    assert sorted(item for batch in batches for item in batch) == list(range(8))


def test_an_error_is_that_of_its_item_or_of_the_whole_batch() -> None:
    def halve(items: list[int]) -> list[int | Exception]:
        if 0 in items:
            raise ZeroDivisionError
        return [ValueError("odd") if item % 2 else item // 2 for item in items]

    halved = Batches(halve)
    assert halved(4) == 2
    with pytest.raises(ValueError, match="odd"):
        halved(3)
    with pytest.raises(ZeroDivisionError):
        halved(0)
    assert halved(2) == 1

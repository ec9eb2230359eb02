"""Work for which several threads wait, done for all of them at once."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batches(Generic[Item, Result]):
    """Calls `handle` with every item that waits, and gives each caller the result for its own item.

    One call is made at a time; the items that come meanwhile are the next batch. `handle` returns a result for each
    item, in their order; an exception in place of a result is raised for that item alone.
    """

    def __init__(self, handle: Callable[[list[Item]], list[Result | Exception]], lock: "Lock | None" = None) -> None:
        """Take the function, and a lock under which it is called, if other work is to wait for it."""
        self.handle = handle
        self._waiting: deque[tuple[Item, Future[Result]]] = deque()
        self._lock = lock or Lock()

    def __call__(self, item: Item) -> Result:
        """Return the result for an item, or raise its exception; called from any thread."""
        own: Future[Result] = Future()
        self._waiting.append((item, own))
        with self._lock:
            if not own.done():
                self._handle_waiting()
        return own.result()

    def _handle_waiting(self) -> None:
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            results = self.handle([item for item, _ in batch])
            assert len(results) == len(batch)
        except Exception as error:
            results = [error] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

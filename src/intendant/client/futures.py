"""`concurrent.futures` over runs: each call is a run of its own, on the daemon's queue.

A future of a run is a real `Future`: `wait`, `as_completed`, `asyncio.wrap_future` and
`loop.run_in_executor` know it. What differs follows from what a run is: it is on disk, it outlives
this program unless it is cancelled, and it can be ended while it runs (`terminate`).
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from itertools import chain, islice
from typing import Any, ParamSpec, TypeVar, cast

from intendant.client.call import digest, encode_pickle
from intendant.client.command import RunOptions, Submitter, spec_of, submission
from intendant.client.courier import Courier
from intendant.client.endpoint import Address, is_local, require_life
from intendant.client.pickles import call_each, pack_call
from intendant.client.result import RunResult

P = ParamSpec("P")
T = TypeVar("T")


class RunFuture(Future[T]):
    """What becomes of one call. `run_id` is known soon after the submission."""

    def __init__(self, courier: Courier, *, size_bytes: int) -> None:
        super().__init__()
        self.run_id: int | None = None
        self.size_bytes = size_bytes
        self._courier = courier
        self._marking = threading.RLock()
        self._is_told = False

    def cancel(self) -> bool:
        """Withdraw the run if it has not started; False if it has, or has ended."""
        if self.done() or self.running():
            return self.cancelled()
        return bool(self._courier.withdraw([self])) and self.mark_cancelled()

    def terminate(self, *, grace_s: float | None = None) -> bool:
        """End the run also while it runs; whether there was anything left to end.

        `grace_s` stands for the run's own: once to act on the request, then from SIGTERM to
        SIGKILL. The future of a run that was ended so raises `RunFailed`, its outcome `cancelled`.
        """
        if self.done():
            return False
        is_ended = self._courier.terminate(self, grace_s=grace_s)
        if is_ended and self.run_id is None:  # it had not even been submitted
            self.mark_cancelled()
        return is_ended

    # --- what the courier tells ------------------------------------------------------------------

    def note_run(self, run_id: int) -> None:
        """The run is on the queue."""
        self.run_id = run_id

    def note_live(self) -> None:
        """The run has started: from now on it can't be cancelled."""
        with self._marking:
            if not (self.running() or self.done()):
                self.set_running_or_notify_cancel()

    def settle(self, result: RunResult) -> None:
        """The run has ended."""
        if result.outcome == "cancelled" and self.mark_cancelled():
            return
        try:
            value = result.value(may_unpickle=True)
        except BaseException as error:  # noqa: BLE001  whatever the call raised, or its unpickling
            self.set_exception(error)
        else:
            self.set_result(cast(T, value))

    def fail(self, error: Exception) -> None:
        """Nothing will be known of the run."""
        if not self.done():
            self.set_exception(error)

    def mark_cancelled(self) -> bool:
        """Be cancelled, for all who wait; False if it runs already."""
        with self._marking:
            is_cancelled = super().cancel()
            if is_cancelled and not self._is_told:
                self._is_told = True
                self.set_running_or_notify_cancel()
            return is_cancelled


class RunExecutor(Executor):
    """Calls functions in runs of the daemon at `address`; made by `Client.executor`."""

    def __init__(self, address: Address, options: RunOptions) -> None:
        require_life(address.endpoint)
        self._submitter = Submitter.this_process() if is_local(address.endpoint) else None
        self._options = options
        self._courier = Courier(address, self._submitter)
        self._open: set[RunFuture[Any]] = set()
        self._lock = threading.Lock()
        self._is_shut_down = False
        # An executor that is dropped without `shutdown` ends its threads when all is delivered.
        weakref.finalize(self, self._courier.finish).atexit = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> RunFuture[T]:
        """Queue `fn(*args, **kwargs)` as a run; raises if it can't be pickled."""
        pickle = encode_pickle(pack_call(fn, args, kwargs))
        with self._lock:
            if self._is_shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            future: RunFuture[T] = RunFuture(self._courier, size_bytes=len(pickle))
            self._open.add(future)
            future.add_done_callback(self._open.discard)
            self._courier.send(future, self._submission(pickle))
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[T]:
        """`map(fn, *iterables)`, so many calls in one run as `chunksize` says; results in order."""
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout)
        chunks = _chunks(zip(*iterables, strict=False), chunksize)
        several = super().map(partial(call_each, fn), chunks, timeout=timeout)
        return chain.from_iterable(cast(Iterator[list[T]], several))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more; `wait` for all that is under way. No run that has started is ended."""
        with self._lock:
            self._is_shut_down = True
            is_open = list(self._open)
        if cancel_futures and is_open:
            for future in self._courier.withdraw(is_open):
                cast(RunFuture[Any], future).mark_cancelled()
        self._courier.finish()
        if wait:
            self._courier.join()

    def _submission(self, pickle: str) -> dict[str, object]:
        spec = {"workload": {"kind": "call", "pickle_sha256": digest(pickle), "result": "pickle"}}
        options = cast(RunOptions, dict(self._options))
        return submission(spec_of(spec, **options), pickle=pickle, submitter=self._submitter)


def _chunks(arguments: Iterator[tuple[object, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    while chunk := list(islice(arguments, size)):
        yield chunk

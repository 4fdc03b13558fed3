"""What stands behind a `RunExecutor`: one thread with one event loop, and one that delivers.

The loop takes submissions from any thread and sends those that have come together as one; it reads
the stream of events, so that every end is pushed; and it fetches what the ended runs left. Futures
are settled by the other thread: that runs code of the user (the unpickling of results, callbacks),
which may be slow, and may ask the loop for something.

All state belongs to the loop's thread. A daemon that restarts is waited for: submissions have keys,
events have numbers, so nothing is done twice and nothing is missed.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from functools import partial
from itertools import count, islice
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from intendant.client import conversations as talk
from intendant.client.async_client import AsyncClient
from intendant.client.command import Submission, Submitter
from intendant.client.endpoint import Address
from intendant.client.events import EventCursor
from intendant.client.result import RunResult
from intendant.client.shapes import EventInfo
from intendant.errors import PASSING, IntendantError

MAX_BATCH = 1000
MAX_BATCH_BYTES = 2 * 1024 * 1024
"""Of pickles in one request; with the environment beside them they fit into a frame."""
PATIENCE_S = 60.0
"""How long a daemon may be away before the futures fail."""
_FIRST_DELAY_S = 0.1
_MAX_DELAY_S = 2.0
_LEAVES_S = 2.0
_LIVE = ("starting", "running", "stopping")

T = TypeVar("T")
_NUMBERS = count(1)


class Addressee(Protocol):
    """A future, as the courier knows it. `settle` and `fail` are called to deliver."""

    @property
    def size_bytes(self) -> int: ...

    def note_run(self, run_id: int) -> None: ...

    def note_live(self) -> None: ...

    def settle(self, result: RunResult) -> None: ...

    def fail(self, error: Exception) -> None: ...


class Courier:
    """Carries calls to the daemon and their ends back, until it is told to finish."""

    def __init__(self, address: Address, submitter: Submitter | None) -> None:
        self._address = address
        self._submitter = submitter
        self._waiting: dict[Addressee, Submission] = {}
        self._sending: dict[Addressee, asyncio.Event] = {}
        self._open: dict[int, Addressee] = {}
        self._ids: dict[Addressee, int] = {}
        self._settling: set[Addressee] = set()
        self._early: dict[int, str] = {}
        self._is_finishing = False
        self._error: Exception | None = None
        self._letters: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._woken = asyncio.Event()
        self._idle = asyncio.Event()
        name = f"runs-{next(_NUMBERS)}"
        self._deliverer = threading.Thread(
            target=self._deliver, name=f"{name}-deliver", daemon=True
        )
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._deliverer.start()
        self._thread.start()
        atexit.register(self._abandon)

    # --- from any thread -------------------------------------------------------------------------

    def send(self, addressee: Addressee, submission: Submission) -> None:
        """Submit a run, soon; its end goes to the addressee."""
        self._loop.call_soon_threadsafe(self._take, addressee, submission)

    def withdraw(self, addressees: Sequence[Addressee]) -> list[Addressee]:
        """Those whose runs have not started, and never will now."""
        return self._ask(self._withdraw(addressees))

    def terminate(self, addressee: Addressee, *, grace_s: float | None) -> bool:
        """End a run wherever it is; whether there was anything left to end."""
        return self._ask(self._terminate(addressee, grace_s))

    def finish(self) -> None:
        """End once everything under way has been delivered. Returns at once."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._finish)

    def join(self) -> None:
        """Return once everything has been delivered, after `finish`."""
        if threading.current_thread() is not self._deliverer:  # a callback can't wait for itself
            self._thread.join()
            self._deliverer.join()

    def _ask(self, question: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(question, self._loop).result()

    def _abandon(self) -> None:
        """The program ends: the runs go on, nobody waits for them here."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._idle.set)
            self._thread.join(_LEAVES_S)

    # --- in the delivering thread ----------------------------------------------------------------

    def _deliver(self) -> None:
        while (letter := self._letters.get()) is not None:
            letter()

    # --- in the loop -----------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._carry())
        finally:
            self._letters.put(None)
            atexit.unregister(self._abandon)

    async def _carry(self) -> None:
        """Until all is delivered (or the program ends); a broken courier goes on to say that."""
        async with AsyncClient(self._address) as client:
            self._client = client
            try:
                async with asyncio.TaskGroup() as tasks:
                    self._tasks = tasks
                    tasks.create_task(self._follow_and_submit(tasks), name="follow")
                    tasks.create_task(self._end_when_idle(), name="end")
            except* _Finished:
                pass

    async def _end_when_idle(self) -> None:
        await self._idle.wait()
        raise _Finished

    async def _follow_and_submit(self, tasks: asyncio.TaskGroup) -> None:
        try:
            # Before the first submission: no end can come earlier than this place.
            place = await _insist(self._client.last_event_id)
            tasks.create_task(self._submit_all(), name="submit")
            await self._follow(EventCursor([], after_id=place, follow=True))
        except (IntendantError, TimeoutError) as error:
            self._fail_all(error)

    async def _follow(self, place: EventCursor) -> None:
        patience = _Patience()
        while True:
            try:
                async for event in self._client.read(place):
                    patience = _Patience()
                    self._on_event(event)
            except PASSING as error:
                await patience.wait_or_raise(error)

    def _on_event(self, event: EventInfo) -> None:
        if event["run_id"] in self._open:
            self._on_state(event["run_id"], event["after"])
        elif self._sending:
            self._early[event["run_id"]] = event["after"]  # perhaps of a run whose id is on its way

    def _on_state(self, run_id: int, state: str) -> None:
        if state == "ended":
            addressee = self._open.pop(run_id)
            self._settling.add(addressee)
            self._tasks.create_task(self._settle(addressee, run_id), name=f"settle-{run_id}")
        elif state in _LIVE:
            self._open[run_id].note_live()

    async def _settle(self, addressee: Addressee, run_id: int) -> None:
        try:
            result = await _insist(partial(self._client.result, run_id))
        except (IntendantError, TimeoutError) as error:
            self._letters.put(partial(addressee.fail, error))
        else:
            self._letters.put(partial(addressee.settle, result))
        self._settling.discard(addressee)
        self._ids.pop(addressee, None)
        self._rest_if_idle()

    # --- submitting ------------------------------------------------------------------------------

    def _take(self, addressee: Addressee, submission: Submission) -> None:
        if self._error is not None:
            self._letters.put(partial(addressee.fail, self._error))
            return
        self._waiting[addressee] = submission
        self._woken.set()

    async def _submit_all(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            while batch := dict(_first_of(self._waiting)):
                await self._submit(batch)

    async def _submit(self, batch: dict[Addressee, Submission]) -> None:
        answered = asyncio.Event()
        for addressee in batch:
            del self._waiting[addressee]
            self._sending[addressee] = answered
        several = list(batch.values())
        try:
            run_ids = await _insist(
                lambda: self._client.converse(talk.submit(several, self._submitter))
            )
        except (IntendantError, TimeoutError) as error:
            for addressee in batch:
                self._letters.put(partial(addressee.fail, error))
        else:
            for addressee, run_id in zip(batch, run_ids, strict=True):
                self._register(addressee, run_id)
        self._sending.clear()
        self._early.clear()
        answered.set()
        self._rest_if_idle()

    def _register(self, addressee: Addressee, run_id: int) -> None:
        self._open[run_id] = addressee
        self._ids[addressee] = run_id
        addressee.note_run(run_id)
        if run_id in self._early:
            self._on_state(run_id, self._early[run_id])

    # --- ending ----------------------------------------------------------------------------------

    async def _withdraw(self, addressees: Sequence[Addressee]) -> list[Addressee]:
        withdrawn = [one for one in addressees if self._waiting.pop(one, None) is not None]
        for one in addressees:
            await self._sent(one)
        ids = {self._ids[one]: one for one in addressees if one in self._ids}
        for some in batched(list(ids), MAX_BATCH // 2):
            change = await self._client.converse(talk.cancel(some, only_waiting=True))
            withdrawn += [ids[run_id] for run_id in change["changed"]]
        self._rest_if_idle()
        return withdrawn

    async def _terminate(self, addressee: Addressee, grace_s: float | None) -> bool:
        if self._waiting.pop(addressee, None) is not None:
            self._rest_if_idle()
            return True
        await self._sent(addressee)
        run_id = self._ids.get(addressee)
        if run_id is None:
            return False
        change = await self._client.converse(talk.cancel(run_id, grace_s=grace_s))
        return run_id in change["changed"]

    async def _sent(self, addressee: Addressee) -> None:
        """Return once the run's id is known, if its submission is under way."""
        if (answered := self._sending.get(addressee)) is not None:
            await answered.wait()

    def _fail_all(self, error: Exception) -> None:
        self._error = error
        for addressee in {*self._waiting, *self._ids}:
            self._letters.put(partial(addressee.fail, error))
        self._waiting.clear()
        self._open.clear()
        self._ids.clear()
        self._rest_if_idle()

    def _finish(self) -> None:
        self._is_finishing = True
        self._rest_if_idle()

    def _rest_if_idle(self) -> None:
        is_busy = self._waiting or self._sending or self._open or self._settling
        if self._is_finishing and not is_busy:
            self._idle.set()


class _Finished(Exception):
    """Ends the courier's tasks."""


class _Patience:
    """How long a trouble that may pass is borne with; longer pauses as time goes by."""

    def __init__(self) -> None:
        self._deadline = asyncio.get_running_loop().time() + PATIENCE_S
        self._delay_s = _FIRST_DELAY_S

    async def wait_or_raise(self, error: Exception) -> None:
        """Wait a while; raise the error when there was enough of that."""
        if asyncio.get_running_loop().time() > self._deadline:
            raise error
        await asyncio.sleep(self._delay_s)
        self._delay_s = min(2 * self._delay_s, _MAX_DELAY_S)


async def _insist(act: Callable[[], Awaitable[T]]) -> T:
    """Do what may be done twice, again and again while the daemon is away."""
    patience = _Patience()
    while True:
        try:
            return await act()
        except PASSING as error:
            await patience.wait_or_raise(error)


def _first_of(waiting: Mapping[Addressee, Submission]) -> Iterator[tuple[Addressee, Submission]]:
    """As many as fit into one request."""
    size = 0
    for addressee, submission in islice(waiting.items(), MAX_BATCH):
        size += addressee.size_bytes
        if size > MAX_BATCH_BYTES and size > addressee.size_bytes:
            return
        yield addressee, submission


def batched(ids: list[int], size: int) -> Iterator[list[int]]:
    """The ids, so many at a time."""
    for at in range(0, len(ids), size):
        yield ids[at : at + size]

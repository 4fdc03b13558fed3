"""Where the daemon is, why it ends, and what it has been told to do next.

Signals, requests, the life-line and the broker's watcher only put orders on a queue; one task
obeys them, in the order of their arrival.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from dataclasses import dataclass

import structlog

from intendant.protocol.executor_states import Cause, ExecutorEvent, ExecutorState, Policy, after

log = structlog.get_logger()

_ORDERS = 64
_EVENTS = {
    Policy.STOP: ExecutorEvent.STOP,
    Policy.DRAIN: ExecutorEvent.DRAIN,
    Policy.LEAVE: ExecutorEvent.LEAVE,
    Policy.NOW: ExecutorEvent.KILL,
}
_CAUSES = {
    signal.SIGINT: Cause.SIGINT,
    signal.SIGTERM: Cause.SIGTERM,
    signal.SIGABRT: Cause.SIGABRT,
}
_STATUS = {Cause.COMMAND: 0, Cause.IDLE: 0, Cause.BROKER_LOST: 70} | {
    cause: 128 + signum for signum, cause in _CAUSES.items()
}
ENDING = frozenset({ExecutorState.DRAINING, ExecutorState.STOPPING, ExecutorState.KILLING})


@dataclass(frozen=True, slots=True)
class Order:
    """End the daemon: what becomes of the runs, and why."""

    policy: Policy
    cause: Cause
    is_signal: bool = False


class Lifecycle:
    """The executor's state and cause, and the queue of orders."""

    def __init__(self) -> None:
        self.state = ExecutorState.PRISTINE
        self.cause: Cause | None = None
        self._orders: deque[Order] = deque()
        self._ordered = asyncio.Event()

    @property
    def exit_status(self) -> int:
        """What the process ends with."""
        return 0 if self.cause is None else _STATUS[self.cause]

    @property
    def takes_submissions(self) -> bool:
        """Whether new runs are accepted; a queue can grow while the daemon drains."""
        return self.state in (
            ExecutorState.INITIALIZED,
            ExecutorState.RUNNING,
            ExecutorState.DRAINING,
        )

    def order(self, order: Order) -> None:
        """Put an order on the queue; beyond its bound they all say the same anyway."""
        if len(self._orders) < _ORDERS:
            self._orders.append(order)
            self._ordered.set()

    def order_by_signal(self, signum: int, policy: Policy) -> None:
        """The first signal as the policy says, a later one harder."""
        self.order(Order(policy, _CAUSES[signal.Signals(signum)], is_signal=True))

    async def wait_order(self) -> None:
        """Return once there is an order to take."""
        await self._ordered.wait()

    def take_order(self) -> Order | None:
        """The oldest order, if there is one."""
        if not self._orders:
            self._ordered.clear()
            return None
        return self._orders.popleft()

    def obey(self, order: Order) -> ExecutorState:
        """Move on as ordered; the state after it."""
        event = _EVENTS[order.policy]
        if order.is_signal and self.state in ENDING:
            event = ExecutorEvent.LEAVE if order.policy is Policy.LEAVE else ExecutorEvent.KILL
        if self.cause is None:
            self.cause = order.cause
        return self.on(event)

    def foresee(self, order: Order) -> ExecutorState:
        """The state that obeying the order will lead to from here."""
        return after(self.state, _EVENTS[order.policy])

    def on(self, event: ExecutorEvent) -> ExecutorState:
        """Move on; the state after it."""
        before, self.state = self.state, after(self.state, event)
        log.info("executor_state", before=before, after=self.state, cause=self.cause)
        return self.state

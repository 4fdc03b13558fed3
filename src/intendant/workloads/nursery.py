"""Where the processes of steps and trials come from, each with a keeper of its tree.

The zygote (`workloads.zygote`) is asked for keepers, as many as there are trees at once, and each
of them for one leader after another. A leader is told what to do over a socket of its own; its end
is the keeper's word, said when nothing of its tree is left.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from intendant.protocol.step_records import Usage

LEFTOVER_GRACE_S = 3.0
"""From SIGTERM to SIGKILL for what a leader has left running."""
_PACKET_BYTES = 4096


@dataclass(frozen=True, slots=True)
class TreeEnd:
    """What a keeper says in the end; without a status: it was killed itself."""

    status: int | None
    """The leader's exit code, or minus the signal's number."""
    usage: Usage | None


class Tree:
    """A leader and all that it starts, seen from who asked for it.

    `give_back` gets the channel of the keeper when it can take another leader.
    """

    def __init__(
        self,
        keeper: socket.socket,
        give_back: Callable[[socket.socket], object] = socket.socket.close,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._keeper = keeper
        self._give_back = give_back
        self.ended: asyncio.Future[TreeEnd] = loop.create_future()
        keeper.setblocking(False)
        loop.add_reader(keeper.fileno(), self._on_keeper)

    def end(self, grace_s: float) -> None:
        """SIGTERM to the leader's group, SIGKILL to the tree when the grace is over."""
        if not self.ended.done():
            with suppress(BrokenPipeError, ConnectionResetError):  # it is saying so just now
                self._keeper.send(json.dumps({"grace_s": grace_s}).encode())

    def _on_keeper(self) -> None:
        try:
            packet = self._keeper.recv(_PACKET_BYTES)
        except ConnectionResetError:  # it has ended with a wish unread; what it said comes next
            return
        asyncio.get_running_loop().remove_reader(self._keeper.fileno())
        (self._give_back if packet else socket.socket.close)(self._keeper)
        said: dict[str, Any] = json.loads(packet) if packet else {"status": None}
        status = said.pop("status")
        usage = Usage.model_validate(said) if said else None
        self.ended.set_result(TreeEnd(status, usage))


class Nursery:
    """Asks keepers. While more are wanted one leader is ready, so that nobody waits for a fork.

    `greeting` is the first that a leader hears.
    """

    def __init__(self, zygote: socket.socket, *, greeting: bytes = b"") -> None:
        self._zygote = zygote
        self._greeting = greeting
        self._idle: list[socket.socket] = []
        """The channels of keepers that have no tree to keep."""
        self._spare: tuple[Tree, socket.socket] | None = None
        self._next: asyncio.Handle | None = None

    def bear(
        self, *, fresh: str | None = None, pipes: Sequence[int] = (), is_last: bool = False
    ) -> tuple[Tree, socket.socket]:
        """A leader that waits for orders on the socket; if none comes to life, its tree ends.

        `fresh` names a module to execute in a new interpreter, with the socket as its argument.
        `pipes` are descriptors that come with the greeting. After the one that `is_last`, as far as
        can be known, none is made ready; else the next one, once this one has its order.
        """
        if fresh is not None or pipes:
            return self._ask(fresh, pipes)
        taken, self._spare = self._spare, None
        if taken is not None and taken[0].ended.done():
            taken[1].close()
            taken = None
        taken = taken or self._ask()
        if not is_last and self._next is None:
            self._next = asyncio.get_running_loop().call_soon(self._make_next)
        return taken

    def make_ready(self) -> None:
        """Have a leader come to life, for whoever is the first to want one."""
        self._spare = self._spare or self._ask()

    async def close(self) -> None:
        """Let the leader go that is ready, and the keepers."""
        if self._next is not None:
            self._next.cancel()
        if self._spare is not None:
            tree, orders = self._spare
            orders.close()
            await tree.ended
        while self._idle:
            self._idle.pop().close()

    def _make_next(self) -> None:
        self._next = None
        with suppress(OSError):  # whoever is the first to want one hears of it
            self.make_ready()

    def _ask(
        self, fresh: str | None = None, pipes: Sequence[int] = ()
    ) -> tuple[Tree, socket.socket]:
        request = json.dumps({"grace_s": LEFTOVER_GRACE_S, "fresh": fresh}).encode()
        orders, orders_end = socket.socketpair()
        with orders_end:
            keeper = self._asked_idle_keeper(request, orders_end)
            if keeper is None:
                keeper = self._new_keeper()
                _send(keeper, request, orders_end)
        orders.setblocking(False)
        if self._greeting:
            with suppress(OSError):  # it has ended, as its keeper will say
                socket.send_fds(orders, [self._greeting], pipes)
        return Tree(keeper, self._idle.append), orders

    def _asked_idle_keeper(self, request: bytes, orders: socket.socket) -> socket.socket | None:
        """One that has heard the request; those that somebody has killed go."""
        while self._idle:
            keeper = self._idle.pop()
            if _send(keeper, request, orders):
                return keeper
            keeper.close()
        return None

    def _new_keeper(self) -> socket.socket:
        """The channel of a keeper; what is sent there waits until it has come to life."""
        keeper, keeper_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with keeper_end:
            socket.send_fds(self._zygote, [b"keeper"], [keeper_end.fileno()])
        return keeper


def _send(keeper: socket.socket, request: bytes, orders: socket.socket) -> bool:
    """Whether there is anybody to hear it; if not, the channel says so too."""
    try:
        socket.send_fds(keeper, [request], [orders.fileno()])
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True

"""Where the processes of steps and trials come from, each with a keeper of its tree.

The zygote (`workloads.zygote`) is asked for a keeper and its leader. The leader is told what to do
over a socket of its own; its end is the keeper's word, said when nothing of its tree is left.
"""

from __future__ import annotations

import asyncio
import json
import socket
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
    """A leader and all that it starts, seen from who asked for it."""

    def __init__(self, keeper: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._keeper = keeper
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
        self._keeper.close()
        said: dict[str, Any] = json.loads(packet) if packet else {"status": None}
        status = said.pop("status")
        usage = Usage.model_validate(said) if said else None
        self.ended.set_result(TreeEnd(status, usage))


class Nursery:
    """Asks the zygote. One leader is always ready, so that nobody waits for a fork."""

    def __init__(self, zygote: socket.socket) -> None:
        self._zygote = zygote
        self._spare: tuple[Tree, socket.socket] | None = None

    def bear(self, *, fresh: str | None = None) -> tuple[Tree, socket.socket]:
        """A leader that waits for orders on the socket; if none comes to life, its tree ends.

        `fresh` names a module to execute in a new interpreter, with the socket as its argument.
        """
        if fresh is not None:
            return self._ask(fresh)
        taken, self._spare = self._spare, None
        if taken is not None and taken[0].ended.done():
            taken[1].close()
            taken = None
        taken = taken or self._ask()
        self._spare = self._ask()
        return taken

    async def close(self) -> None:
        """Let the leader go that is ready."""
        if self._spare is not None:
            tree, orders = self._spare
            orders.close()
            await tree.ended

    def _ask(self, fresh: str | None = None) -> tuple[Tree, socket.socket]:
        keeper, keeper_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        orders, orders_end = socket.socketpair()
        with keeper_end, orders_end:
            request = json.dumps({"grace_s": LEFTOVER_GRACE_S, "fresh": fresh}).encode()
            socket.send_fds(self._zygote, [request], [keeper_end.fileno(), orders_end.fileno()])
        orders.setblocking(False)
        return Tree(keeper), orders

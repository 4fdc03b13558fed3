"""A governor that has been born and waits for its order (`process.birth` has the protocol)."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from intendant.errors import LaunchFailed
from intendant.launch.base import Launched
from intendant.process.line import SEEN, Line
from intendant.process.pidfd import Pidfd

_ANSWER_BYTES = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Newborn:
    """One governor, pinned down. Give it an order, or close it: it ends then."""

    pid: int
    pidfd: Pidfd
    standing: bytes
    """What it was born with."""
    _report: socket.socket

    async def obey(self, order: bytes) -> Launched:
        """Give it its order, and wait until it has settled in; `LaunchFailed` says why not."""
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(self._report, order)
            await _answer(self._report, "settle in")
        except (BrokenPipeError, ConnectionResetError) as error:
            with suppress(OSError):  # what it has said is there all the same
                await _answer(self._report, "settle in")
            raise LaunchFailed("the governor died before it could settle in") from error
        return Launched(self.pid, self.pidfd, Line(self._report))

    def hang_up(self) -> None:
        """Tell it that there will be no order: it ends."""
        self._report.close()

    def close(self) -> None:
        """Hang up, and watch it no longer."""
        self.hang_up()
        self.pidfd.close()


class Cradle:
    """Where one governor waits, or none. `let_go` gets one that dies here."""

    def __init__(self, let_go: Callable[[Newborn], None]) -> None:
        self._let_go = let_go
        self._governor: Newborn | None = None
        self._death: asyncio.Future[None] | None = None

    def put(self, governor: Newborn) -> None:
        """Let it wait here."""
        self._governor, self._death = governor, governor.pidfd.exited()
        self._death.add_done_callback(self._on_death)

    def take(self) -> Newborn | None:
        """Whoever waits; it is the taker's from now on."""
        governor, death = self._governor, self._death
        self._governor = self._death = None
        if death is not None:
            death.cancel()
        return governor

    def _on_death(self, death: asyncio.Future[None]) -> None:
        if death is self._death and (governor := self.take()) is not None:
            self._let_go(governor)


async def first_word(
    report: socket.socket, standing: bytes, know: Callable[[int], None]
) -> Newborn:
    """Wait for the governor's pid, pin it down, and let a middle process go.

    `know` hears of the pid at once. `LaunchFailed` says why nobody lives.
    """
    pid = int((await _answer(report, "say its pid"))["pid"])
    # The pid is its bearer's even if that has died: nobody reaps it before it is known here, or
    # before a middle process has got the answer below.
    pidfd = Pidfd(os.pidfd_open(pid))
    know(pid)
    try:
        await asyncio.get_running_loop().sock_sendall(report, SEEN)
    except BrokenPipeError:
        pass  # nobody waits for it: there is no middle process, or both have died
    except BaseException:
        pidfd.close()
        raise
    return Newborn(pid, pidfd, standing, report)


async def _answer(report: socket.socket, what: str) -> dict[str, int]:
    answer = await asyncio.get_running_loop().sock_recv(report, _ANSWER_BYTES)
    if not answer:
        raise LaunchFailed(f"the governor died before it could {what}")
    found: dict[str, int] = json.loads(answer)
    if "error" in found:
        raise LaunchFailed(str(found["error"]))
    return found

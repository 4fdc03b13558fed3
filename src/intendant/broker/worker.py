"""The worker's end of Majordomo 0.2: offers one service and answers one request at a time.

A worker keeps a conversation with the broker: READY on a new socket, heartbeats both ways, and
requests. When the conversation ends (the connection closed, the broker fell silent or said
DISCONNECT), another one begins on a new socket, so a restarted broker knows the worker again.
Heartbeats are timers of the loop: they go on while a handler waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import structlog

from intendant.broker.connecting import connect_dealer
from intendant.broker.dealer import reconnect_delays
from intendant.broker.keys import ClientKeys
from intendant.broker.refusals import error_frame
from intendant.broker.sockets import ConnectionLost
from intendant.errors import InternalError
from intendant.protocol import mdp
from intendant.protocol.roles import Caller, Role

LINGER_MS = 200

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Request:
    """What a client asked; `caller` is who it is, as the broker says."""

    caller: Caller
    body: list[bytes]
    _send_partial: Callable[[Sequence[bytes]], Awaitable[None]] = field(repr=False)

    async def partial(self, *body: bytes) -> None:
        """Send a part of the answer; waits while the broker takes nothing.

        `ConnectionLost` when the request can't be answered any more.
        """
        if not body:
            raise ValueError("a PARTIAL has at least one body frame")
        await self._send_partial(body)


Handler = Callable[[Request], Awaitable[list[bytes]]]
"""Gives the body of the FINAL."""


class Worker:
    """Offers `service` at `endpoint` until `run` is cancelled.

    A handler that fails is logged and answered with `internal_error`. With `cancel_when_lost` a
    handler is cancelled as soon as nobody can get its answer; otherwise it finishes, the answer
    is dropped, and only then the worker offers its service again.
    """

    def __init__(
        self,
        endpoint: str,
        service: bytes,
        handler: Handler,
        *,
        keys: ClientKeys | None = None,
        heartbeat_s: float = mdp.HEARTBEAT_S,
        liveness: int = mdp.LIVENESS,
        cancel_when_lost: bool = False,
    ) -> None:
        self.ready = asyncio.Event()
        """Set while the broker is connected and knows (or is about to read) our READY."""
        self._endpoint = endpoint
        self._keys = keys
        self._service = service
        self._handler = handler
        self._heartbeat_s = heartbeat_s
        self._expiry_s = heartbeat_s * liveness
        self._cancel_when_lost = cancel_when_lost

    async def run(self) -> None:
        """Answer requests until cancelled; then say DISCONNECT and close."""
        delays = reconnect_delays()
        while True:
            try:
                if await self._converse():
                    delays = reconnect_delays()
            except ConnectionLost as error:
                log.debug("not_connected", endpoint=self._endpoint, error=str(error))
            await asyncio.sleep(next(delays))

    async def _converse(self) -> bool:
        """One conversation, until it is lost; whether the broker had accepted it."""
        conversation = _Conversation(
            self._endpoint, self._keys, self._service, self._heartbeat_s, self._expiry_s,
            self.ready,
        )  # fmt: skip
        try:
            await self._answer_requests(conversation)
        except ConnectionLost:
            log.debug("broker_lost", endpoint=self._endpoint)
        finally:
            conversation.end()
        return conversation.accepted

    async def _answer_requests(self, conversation: _Conversation) -> None:
        while True:
            address, body = await conversation.next_request()
            request = Request(
                caller=_caller(address.partition(b":")[2]),
                body=body,
                _send_partial=conversation.send_partial,
            )
            await conversation.finish(await self._handle(conversation, request))

    async def _handle(self, conversation: _Conversation, request: Request) -> list[bytes]:
        """The FINAL's body; `ConnectionLost` when nobody wants it any more."""
        if not self._cancel_when_lost:
            return await self._answer(request)
        try:
            async with asyncio.timeout(None) as until_lost:
                conversation.call_when_lost(lambda: until_lost.reschedule(0.0))
                try:
                    return await self._answer(request)
                finally:
                    conversation.call_when_lost(None)
        except TimeoutError:  # a handler's own never gets here
            raise ConnectionLost from None

    async def _answer(self, request: Request) -> list[bytes]:
        try:
            return _at_least_one(await self._handler(request))
        except ConnectionLost:
            raise
        except Exception:  # the edge around the handlers: one request must not end them all
            log.exception("handler_failed", service=self._service.decode())
            return [error_frame(InternalError("the request failed; the daemon's log says why"))]


class _Conversation:
    """One registration: from READY on a new socket to its loss."""

    def __init__(
        self, endpoint: str, keys: ClientKeys | None, service: bytes, heartbeat_s: float,
        expiry_s: float, ready: asyncio.Event,
    ) -> None:  # fmt: skip
        self.accepted = False
        self._heartbeat_s = heartbeat_s
        self._expiry_s = expiry_s
        self._ready = ready
        self._assigned: tuple[bytes, list[bytes]] | None = None
        self._address: bytes | None = None
        self._when_lost: Callable[[], None] | None = None
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._sent_at = self._loop.time()
        self._dealer = connect_dealer(endpoint, self._on_activity, keys=keys)
        self._dealer.send_nowait([mdp.WORKER, mdp.W_READY, service])
        self._timer = self._loop.call_later(heartbeat_s, self._on_timer)
        self._on_activity()

    async def next_request(self) -> tuple[bytes, list[bytes]]:
        """The next request: its client's address and its body."""
        self._address = None
        while self._assigned is None:
            await self._dealer.activity()
        request, self._assigned = self._assigned, None
        self._address = request[0]
        return request

    async def send_partial(self, body: Sequence[bytes]) -> None:
        """Send a part of the answer to the request in hand."""
        await self._send(mdp.W_PARTIAL, self._address, body)

    async def finish(self, body: Sequence[bytes]) -> None:
        """Send the end of the answer. The next request may be here before this returns."""
        address, self._address = self._address, None
        await self._send(mdp.W_FINAL, address, body)

    def call_when_lost(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` once, as soon as (or if already) the conversation is over."""
        self._when_lost = callback
        if self._dealer.lost:
            self._tell_loss()

    def end(self) -> None:
        """Say goodbye, if there is anybody to say it to, and close."""
        self._timer.cancel()
        self._ready.clear()
        self._dealer.send_nowait([mdp.WORKER, mdp.W_DISCONNECT])
        self._dealer.close(LINGER_MS)

    async def _send(self, command: bytes, address: bytes | None, body: Sequence[bytes]) -> None:
        if address is None:
            raise ConnectionLost
        await self._dealer.send([mdp.WORKER, command, address, b"", *body])
        self._sent_at = self._loop.time()

    def _on_activity(self) -> None:
        while not self._dealer.lost and (frames := self._dealer.receive_nowait()) is not None:
            self._heard_at = self._loop.time()
            self._on_message(frames)
        if self._dealer.lost:
            self._tell_loss()
        elif self._dealer.connected:
            self._ready.set()

    def _on_message(self, frames: list[bytes]) -> None:
        command = frames[1] if len(frames) > 1 and frames[0] == mdp.WORKER else None
        if command == mdp.W_HEARTBEAT:
            self.accepted = True
            self._answer_heartbeat()
        elif command == mdp.W_REQUEST and self._is_assignable(frames):
            self.accepted = True
            self._assigned = frames[2], frames[4:]
        else:
            if command != mdp.W_DISCONNECT:
                log.warning("broker_message_invalid", command=command, frames=len(frames))
            self._dealer.give_up()

    def _is_assignable(self, frames: list[bytes]) -> bool:
        free = self._assigned is None and self._address is None
        return free and len(frames) >= 5 and frames[3] == b""

    def _answer_heartbeat(self) -> None:
        """Send the next one with it, where it is due soon: being awake costs more than that."""
        if self._heard_at - self._sent_at >= self._heartbeat_s / 2:
            self._beat(self._heard_at)
            self._set_timer()

    def _on_timer(self) -> None:
        now = self._loop.time()
        if now - self._timer.when() > self._heartbeat_s:  # stalled: hear first, judge later
            self._heard_at = max(self._heard_at, now - self._expiry_s + self._heartbeat_s)
        if now - self._sent_at >= self._heartbeat_s:
            self._beat(now)
        self._dealer.poke()
        if now - self._heard_at >= self._expiry_s:
            self._dealer.give_up()
        if not self._dealer.lost:
            self._set_timer()

    def _beat(self, now: float) -> None:
        self._dealer.send_nowait([mdp.WORKER, mdp.W_HEARTBEAT])
        self._sent_at = now

    def _set_timer(self) -> None:
        self._timer.cancel()  # what was heard meanwhile may have set it
        due = min(self._sent_at + self._heartbeat_s, self._heard_at + self._expiry_s)
        self._timer = self._loop.call_at(due, self._on_timer)

    def _tell_loss(self) -> None:
        self._ready.clear()
        callback, self._when_lost = self._when_lost, None
        if callback is not None:
            callback()


@lru_cache
def _caller(spelled: bytes) -> Caller:
    """Who the client is, as our own broker says; another broker's addresses say nothing of it."""
    try:
        return Caller.decode(spelled.decode())
    except ValueError:
        return Caller("unknown", Role.OBSERVE, sees_all=False)


def _at_least_one(body: list[bytes]) -> list[bytes]:
    if not body:
        raise ValueError("a handler's answer has at least one body frame")
    return body

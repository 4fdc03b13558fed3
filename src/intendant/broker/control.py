"""The broker's process on its channel to whoever started it.

Lines of JSON come: `allow` and `forbid` for governors, `authorized` keys, `bind` when the first of
them are known, `log_level`, `counters`; back go `bound` and which governors are `present`. The end
of file means that whoever started it is gone, and the broker goes at once.
"""

from __future__ import annotations

from intendant import logs  # before structlog, which it keeps from importing more than is needed

# isort: split
import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import structlog

from intendant.broker.config import BrokerConfig
from intendant.broker.server import Server
from intendant.broker.sockets import outdated_libzmq
from intendant.errors import SettingsError
from intendant.process.crashpoints import crash_point
from intendant.process.limits import raise_file_limit
from intendant.protocol.roles import Caller

MAX_CONTROL_BYTES = 1024 * 1024
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")

log = structlog.get_logger()


class Control:
    """The broker's end of the channel to the executor."""

    def __init__(self, channel: socket.socket, server: Server, ended: asyncio.Future[int]) -> None:
        self._channel = channel
        self._server = server
        self._ended = ended
        self._unread = b""
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        self._channel.setblocking(False)
        self._server.on_presence = self._tell_presence
        self._loop.add_reader(self._channel, self._on_readable)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.remove_reader(self._channel)
        self._channel.close()

    def _on_readable(self) -> None:
        try:
            received = self._channel.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received or len(self._unread) > MAX_CONTROL_BYTES:
            self._loop.remove_reader(self._channel)
            self._end(0)
            return
        *lines, self._unread = (self._unread + received).split(b"\n")
        for line in lines:
            self._obey(line)

    def _obey(self, line: bytes) -> None:
        """Do what one line says; a line that makes no sense is logged and left."""
        try:
            self._follow(json.loads(line))
        except ValueError as error:
            log.warning("control_line_invalid", error=str(error))

    def _follow(self, order: object) -> None:
        match order:
            case {"allow": str(service), "token_sha256": str(digest), "key": str(key)}:
                self._server.allow(service, digest, key)
            case {"allow": str(service), "token_sha256": str(digest)}:
                self._server.allow(service, digest)
            case {"forbid": str(service)}:
                self._server.forbid(service)
            case {"authorized": dict(keys)}:
                callers = {str(key): Caller.decode(str(text)) for key, text in keys.items()}
                self._server.authorize(callers)
            case {"log_level": str(level)} if level in LOG_LEVELS:
                logs.set_level(level)
            case {"counters": _}:
                self._tell({"counters": self._server.core.counters})
            case {"bind": _}:
                self._bind()
            case _:
                raise ValueError("expected allow, forbid, authorized, bind, log_level or counters")

    def _bind(self) -> None:
        try:
            self._tell({"bound": self._server.listen()})
            crash_point("broker.bound")
        except SettingsError as error:
            self._tell({"failed": str(error)})
            self._end_for(error)
        except Exception as error:  # whoever waits for it sees it end  # noqa: BLE001
            self._end_for(error)

    def _tell_presence(self, service: str, is_present: bool) -> None:
        self._tell({"service": service, "present": is_present})

    def _tell(self, what: dict[str, object]) -> None:
        """Write a line; an executor that reads nothing for so long is told nothing."""
        with contextlib.suppress(OSError):
            self._channel.send(json.dumps(what).encode() + b"\n")

    def _end_for(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)

    def _end(self, number: int) -> None:
        if not self._ended.done():
            self._ended.set_result(number)


async def serve(config: BrokerConfig, channel: socket.socket) -> None:
    """Be a broker until SIGTERM comes or the other end of `channel` is gone."""
    raise_file_limit()
    if (outdated := outdated_libzmq()) is not None:
        log.warning("library_outdated", detail=outdated)
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ended_by(signal.SIGTERM, ended))
        server = stack.enter_context(Server(config))
        stack.enter_context(Control(channel, server, ended))
        number = await ended
        if number:
            await server.wait_farewells()
            server.say_goodbye()
            if server.has_listened:
                log.info("broker_ended", signal=number)


@contextlib.contextmanager
def _ended_by(number: signal.Signals, ended: asyncio.Future[int]) -> Iterator[None]:
    """The signal resolves `ended` with its number."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        if not ended.done():
            ended.set_result(number)

    loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)

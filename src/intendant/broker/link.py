"""The broker's process, as whoever needs it sees it: started, fed with tokens, started again."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import structlog

from intendant.broker.config import BrokerConfig
from intendant.broker.main import main as broker_main
from intendant.errors import HelperLost
from intendant.process.aio import HelperProcess, let_go_of_resource_tracker, tracker_pid
from intendant.process.children import Children
from intendant.process.waits import heed_cancel
from intendant.protocol.roles import Caller

log = structlog.get_logger()

_DEATHS = 5
_SERVED_S = 10.0
_RESTART_S = 0.05
_RETRY_MAX_S = 5.0
_END_S = 2.0


@dataclass(frozen=True, slots=True)
class BrokerProcess:
    """A broker's process, and our end of the channel to it. It binds when it is told to."""

    process: HelperProcess
    channel: socket.socket

    @classmethod
    def start(cls, config: BrokerConfig) -> BrokerProcess:
        """Start one. `OSError`: no process or descriptor is to be had."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        process = HelperProcess(broker_main, config, theirs, name="broker")
        with theirs:
            process.start()
        return cls(process, ours)

    @property
    def pids(self) -> list[int]:
        """Its own, and that of the resource tracker, which comes with the first helper."""
        return [pid for pid in (self.process.pid, tracker_pid()) if pid is not None]


class BrokerLink:
    """Owns the broker. It must live for anybody to be heard, so its death is noticed at once.

    The first one may be there already: it starts while the executor still loads its modules.
    """

    def __init__(
        self, config: BrokerConfig, children: Children, first: BrokerProcess | None
    ) -> None:
        self._config = config
        self._children = children
        self._first = first
        self._allowed: dict[str, dict[str, object]] = {}
        self._control: asyncio.StreamWriter | None = None
        self.on_presence: Callable[[str, bool], None] = lambda *_: None
        """Hears when a governor's service is there (True) and when it fell silent (False)."""
        self.on_restart: Callable[[], None] = lambda: None
        """Hears that a new broker is about to start, which has met nobody yet."""
        self.bound: list[str] = []
        self._serving_since: float | None = None
        self.refused: str | None = None
        """Why the last one could not listen."""
        self.ready = asyncio.Event()
        self.pid: int | None = None
        self.restarts = 0

    def allow(self, service: str, token_sha256: str, key: str | None = None) -> None:
        """Who holds this token may register `service`; also after a restart.

        From afar it takes `key` besides, which is good for nothing else.
        """
        order: dict[str, object] = {"allow": service, "token_sha256": token_sha256}
        self._allowed[service] = order if key is None else {**order, "key": key}
        self._tell(self._allowed[service])

    def forbid(self, service: str) -> None:
        """That service is over."""
        if self._allowed.pop(service, None) is not None:
            self._tell({"forbid": service})

    def set_log_level(self, level: str) -> None:
        """Change what the broker logs, now and after a restart."""
        self._config = replace(self._config, log_level=level)
        self._tell({"log_level": level})

    def authorize(self, keys: Mapping[str, Caller]) -> None:
        """Let in by tcp who has one of these keys, now and after a restart; nobody else."""
        self._config = replace(self._config, authorized=keys)
        self._tell({"authorized": {key: caller.encode() for key, caller in keys.items()}})

    async def run(self) -> None:
        """Keep a broker alive until cancelled; `HelperLost` if it can't be done."""
        loop = asyncio.get_running_loop()
        lives: deque[float] = deque(maxlen=_DEATHS)
        delay_s = _RESTART_S
        while True:
            try:
                exit_code = await self._live_once()
            except OSError as error:  # no process or descriptor is to be had: that passes
                heed_cancel(error)
                log.error("broker_not_started", error=str(error), retry_in_s=delay_s)
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, _RETRY_MAX_S)
                continue
            delay_s = _RESTART_S
            lives.append(self._served_s(loop.time()))
            if len(lives) == _DEATHS and sum(lives) < _SERVED_S:
                raise HelperLost(
                    f"{_DEATHS} brokers have died, which served {sum(lives):.1f} s in all"
                )
            self.restarts += 1
            log.error("broker_lost", exit_code=exit_code, restarts=self.restarts)
            await asyncio.sleep(_RESTART_S)
            self.on_restart()

    def _served_s(self, now: float) -> float:
        """For how long the last one listened: how long it took to start says nothing of it."""
        since, self._serving_since = self._serving_since, None
        return 0.0 if since is None else now - since

    async def _live_once(self) -> int | None:
        """One broker from start to end; its exit code."""
        self._serving_since = None
        broker, self._first = self._first or BrokerProcess.start(self._config), None
        process = broker.process
        self.pid = process.pid
        if process.pid is not None:
            self._children.know(process.pid)
        self._dismiss_tracker()
        reader, self._control = await asyncio.open_unix_connection(sock=broker.channel)
        self._tell_what_it_missed()
        for order in self._allowed.values():
            self._tell(order)
        self._tell({"bind": True})
        try:
            await self._listen(reader)
            return await process.join()
        finally:
            self.ready.clear()
            await self._end(process)

    def _tell_what_it_missed(self) -> None:
        """What changed between its birth and now, when there was nothing to tell it by."""
        self.set_log_level(self._config.log_level)
        if self._config.server_key is not None:
            self.authorize(self._config.authorized)

    def _dismiss_tracker(self) -> None:
        """The broker has no resources that would have to be tracked: 6 MB for nothing."""
        pid = tracker_pid()
        if pid is not None:
            self._children.know(pid)
            let_go_of_resource_tracker()
            self._children.forget(pid, is_reaped=False)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """Follow what the broker says until it says no more."""
        # A broker that was killed with our words unread ends the channel with a reset.
        with suppress(ConnectionError, ValueError):  # ... or in the middle of a line
            while line := await reader.readline():
                self._hear(json.loads(line))

    def _hear(self, said: dict[str, Any]) -> None:
        if "bound" in said:
            self.bound = said["bound"]
            self._config = _listening_again_at(self.bound, self._config)
            self._serving_since = asyncio.get_running_loop().time()
            self.ready.set()
            log.info("broker_ready", pid=self.pid, endpoints=self.bound)
        elif "service" in said:
            self.on_presence(said["service"], said["present"])
        elif "failed" in said:
            self.refused = said["failed"]
            log.error("broker_failed", error=self.refused)

    def _tell(self, order: dict[str, object]) -> None:
        if self._control is not None:
            self._control.write(json.dumps(order).encode() + b"\n")

    async def _end(self, process: HelperProcess) -> None:
        """Let it say goodbye; kill it if it takes too long."""
        control, self._control = self._control, None
        pid, self.pid = self.pid, None
        if process.exitcode is None:
            process.terminate()
        try:
            async with asyncio.timeout(_END_S):
                await process.join()
        except TimeoutError:
            process.kill()
            await process.join()
        if control is not None:
            control.close()
        if pid is not None:
            self._children.forget(pid, is_reaped=True)


def _listening_again_at(bound: Sequence[str], config: BrokerConfig) -> BrokerConfig:
    """For the next broker: ports that the system chose are tried first, as peers know them."""
    return replace(
        config,
        endpoints=tuple(
            replace(endpoint, earlier=uri) if endpoint.uri.endswith((":*", ":0")) else endpoint
            for endpoint, uri in zip(config.endpoints, bound, strict=True)
        ),
    )

"""A broker without a daemon, in the foreground, where anybody may offer anything.

It is a process of its own here too, and started again when it dies: libzmq ends its process rather
than go on with a damaged connection, and memory is bounded. Five in a row that served less than ten
seconds in all are the end of it.
"""

from __future__ import annotations

from intendant import logs  # before structlog, which it keeps from importing more than is needed

# isort: split
import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Mapping

import structlog

from intendant.broker.addresses import check_address, check_free
from intendant.broker.config import BrokerConfig, Endpoint, KeyPair
from intendant.broker.link import BrokerLink
from intendant.errors import HelperLost, SettingsError
from intendant.process.children import Children
from intendant.process.waits import first_of, settled
from intendant.protocol import mdp
from intendant.protocol.roles import Caller

ReadKeys = Callable[[], Mapping[str, Caller]]

log = structlog.get_logger()


def run_alone(
    listen: Iterable[str],
    *,
    heartbeat_s: float = mdp.HEARTBEAT_S,
    liveness: int = mdp.LIVENESS,
    redeliver: Iterable[str] = (),
    server_key: KeyPair | None = None,
    read_keys: ReadKeys = dict,
    memory_mib: int = 2048,
) -> int:
    """Keep a broker until a signal comes; the exit status, 70 when it can't be kept alive.

    A request of a service in `redeliver` goes to another worker, once, when its worker is lost.
    With a server's key only those come in by tcp whose keys `read_keys` gives, at the start and
    again at each SIGHUP.
    `SettingsError`: it can't listen there.
    """
    config = BrokerConfig(
        endpoints=tuple(Endpoint(uri) for uri in listen),
        open_registration=True,
        heartbeat_s=heartbeat_s,
        liveness=liveness,
        redeliver=frozenset(name.encode() for name in redeliver),
        server_key=server_key,
        authorized=read_keys(),
        memory_bytes=memory_mib * 1024 * 1024,
    )
    for endpoint in config.endpoints:
        check_address(endpoint.uri, has_keys=server_key is not None)
        check_free(endpoint.uri)
    logs.configure(config.log_level, role="keeper")
    os.umask(0o077)
    return asyncio.run(_keep(config, read_keys))


async def _keep(config: BrokerConfig, read_keys: ReadKeys) -> int:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def end(number: int) -> None:
        if not ended.done():
            ended.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    with Children() as children:
        link = BrokerLink(config, children, None)
        if config.server_key is not None:
            loop.add_signal_handler(signal.SIGHUP, _read_again, link, read_keys)
        try:
            await first_of(settled(ended), link.run())
        except HelperLost as error:
            if not link.bound:
                raise SettingsError(link.refused or str(error)) from error
            log.critical("broker_given_up", error=str(error))
            return os.EX_SOFTWARE
    return 128 + ended.result()


def _read_again(link: BrokerLink, read_keys: ReadKeys) -> None:
    """Let in who has a key now, cut off who has none any more; a faulty file changes nothing."""
    try:
        link.authorize(read_keys())
    except SettingsError as error:
        log.error("keys_not_read", error=str(error))
    else:
        log.info("keys_read")

"""The link to the broker's process: what the broker is told, and when."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

import pytest

from intendant.broker.client import Connection
from intendant.broker.config import BrokerConfig, Endpoint
from intendant.broker.keys import ClientKeys, make_pair
from intendant.broker.link import BrokerLink, BrokerProcess
from intendant.errors import AccessDenied
from intendant.process.children import Children
from intendant.protocol.roles import Caller, Role


async def test_keys_read_while_a_broker_is_being_born_are_those_that_count() -> None:
    server, old, new = make_pair(), make_pair(), make_pair()
    ada = Caller("ada", Role.ADMIN)
    config = BrokerConfig(
        endpoints=(Endpoint("tcp://127.0.0.1:*"),), server_key=server, authorized={old.public: ada}
    )
    link = BrokerLink(config, Children(), BrokerProcess.start(config))
    link.authorize({new.public: ada})  # there is no channel yet
    async with kept(link):
        [endpoint] = link.bound
        with closing(Connection(endpoint, keys=ClientKeys(new, server.public))) as let_in:
            assert await let_in.request(b"mmi.none", [b""]) == [b"501"]
        with (
            closing(Connection(endpoint, keys=ClientKeys(old, server.public))) as revoked,
            pytest.raises(AccessDenied),
        ):
            await revoked.request(b"mmi.none", [b""])


async def test_a_port_of_the_systems_choice_that_somebody_else_takes_is_given_up(
    capfd: pytest.CaptureFixture[str],
) -> None:
    config = BrokerConfig(endpoints=(Endpoint("tcp://127.0.0.1:*"),), open_registration=True)
    link = BrokerLink(config, Children(), None)
    with socket.socket() as intruder:
        intruder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        async with kept(link):
            [first] = link.bound
            await succeeded(link, meanwhile=lambda: listen(intruder, first))
            [second] = link.bound
            with closing(Connection(second)) as connection:
                assert await connection.request(b"mmi.none", [b""]) == [b"501"]

    assert second != first
    assert any(
        "port_lost" in line and first in line for line in capfd.readouterr().err.splitlines()
    )


def listen(intruder: socket.socket, endpoint: str) -> None:
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    intruder.bind((host, int(port)))
    intruder.listen()


async def succeeded(link: BrokerLink, meanwhile: Callable[[], object]) -> None:
    """Kill the broker, do something before the next one is born, and wait until that listens."""
    is_gone = asyncio.Event()

    def on_restart() -> None:
        meanwhile()
        is_gone.set()

    link.on_restart = on_restart
    assert link.pid is not None
    os.kill(link.pid, signal.SIGKILL)
    await is_gone.wait()
    await link.ready.wait()


@asynccontextmanager
async def kept(link: BrokerLink) -> AsyncIterator[None]:
    """A broker that listens, while the block runs."""
    running = asyncio.create_task(link.run())
    try:
        async with asyncio.timeout(60):
            await link.ready.wait()
            yield
    finally:
        running.cancel()
        await asyncio.wait([running])

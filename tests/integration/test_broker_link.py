"""The link to the broker's process: what the broker is told, and when."""

from __future__ import annotations

import asyncio
from contextlib import closing

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
    running = asyncio.create_task(link.run())
    try:
        async with asyncio.timeout(60):
            await link.ready.wait()
            [endpoint] = link.bound
            with closing(Connection(endpoint, keys=ClientKeys(new, server.public))) as let_in:
                assert await let_in.request(b"mmi.none", [b""]) == [b"501"]
            with (
                closing(Connection(endpoint, keys=ClientKeys(old, server.public))) as revoked,
                pytest.raises(AccessDenied),
            ):
                await revoked.request(b"mmi.none", [b""])
    finally:
        running.cancel()
        await asyncio.wait([running])

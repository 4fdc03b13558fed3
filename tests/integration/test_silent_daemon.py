"""Clients of a daemon whose socket takes connections and never says a word."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from intendant import AsyncClient, Client

LATE = r"^not ended within 0\.01 s: runs? (1|last)$"


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[str]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/client.sock")
        listener.listen()
        yield f"ipc://{tmp_path}/client.sock"


@pytest.mark.parametrize("run", [1, "last"])
def test_a_wait_that_ends_before_the_daemon_has_answered_is_a_time_out(
    silent: str, run: int | str
) -> None:
    with Client(silent) as client, pytest.raises(TimeoutError, match=LATE):
        client.wait(run, timeout_s=0.01)


@pytest.mark.parametrize("run", [1, "last"])
async def test_so_it_is_for_an_async_client(silent: str, run: int | str) -> None:
    async with AsyncClient(silent) as client:
        with pytest.raises(TimeoutError, match=LATE):
            await client.wait(run, timeout_s=0.01)

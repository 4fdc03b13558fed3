"""A message to a service manager arrives, whatever form its address has (sd_notify(3))."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from intendant.process.service_manager import ServiceManager


@pytest.mark.parametrize(("told", "bound"), [("{}/socket", "{}/socket"), ("@{}", "\0{}")])
def test_a_message_arrives_as_one_datagram(tmp_path: Path, told: str, bound: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(bound.format(tmp_path))
        channel.settimeout(60)

        ServiceManager(told.format(tmp_path)).tell("READY=1", "STATUS=up")

        assert channel.recv(4096) == b"READY=1\nSTATUS=up"

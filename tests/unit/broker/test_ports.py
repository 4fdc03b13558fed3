"""Which addresses may be listened at, and whose a connection is."""

from __future__ import annotations

import os
import pwd

import pytest

from intendant.broker.addresses import check_address, check_free
from intendant.broker.unix_port import account_of
from intendant.errors import SettingsError

LONGEST = "/" + "a" * 106


@pytest.mark.parametrize(
    "uri",
    [
        "ipc:///run/broker.sock",
        f"ipc://{LONGEST}",
        "tcp://127.0.0.1:5555",
        "tcp://127.8.8.8:*",
        "tcp://localhost:5555",
        "tcp://[::1]:5555",
    ],
)
def test_sockets_and_loopback_addresses_may_be_listened_at(uri: str) -> None:
    check_address(uri)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("tcp://0.0.0.0:5555", "loopback"),
        ("tcp://*:5555", "loopback"),
        ("tcp://[::]:5555", "loopback"),
        ("tcp://192.168.1.1:5555", "loopback"),
        ("tcp://example.org:5555", "loopback"),
        ("tcp://127.0.0.1.example.org:5555", "loopback"),
        ("tcp://eth0:5555", "loopback"),
        ("tcp://5555", "HOST:PORT"),
        ("tcp://127.0.0.1", "HOST:PORT"),
        ("tcp://127.0.0.1:", "HOST:PORT"),
        ("tcp://:5555", "HOST:PORT"),
        ("tcp://127.0.0.1:x", "HOST:PORT"),
        ("tcp://127.0.0.1:65536", "HOST:PORT"),
        ("ipc://@abstract", "absolute"),
        ("ipc://relative", "absolute"),
        ("ipc://*", "absolute"),
        (f"ipc://{LONGEST}a", "107"),
        ("inproc://x", "no endpoint"),
        ("udp://127.0.0.1:1", "no endpoint"),
        ("/run/broker.sock", "no endpoint"),
        ("", "no endpoint"),
    ],
)
def test_anything_else_is_refused_with_a_reason(uri: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        check_address(uri)


def test_a_host_that_is_no_address_and_no_interface_is_refused_with_a_reason() -> None:
    with pytest.raises(SettingsError, match=r"999\.1\.1\.1 is neither an address nor an interface"):
        check_free("tcp://999.1.1.1:5555")


def test_a_user_is_known_by_name_and_one_without_a_name_by_its_number() -> None:
    assert account_of(os.getuid()) == pwd.getpwuid(os.getuid()).pw_name
    assert account_of(4294967290) == "4294967290"

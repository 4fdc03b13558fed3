"""Which addresses may be listened at, and what an address says of a peer."""

from __future__ import annotations

import os
import pwd

import pytest

from intendant.broker.addresses import check_address, check_free
from intendant.broker.ports import identify
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


def test_an_ipc_address_names_account_and_process() -> None:
    account = pwd.getpwuid(os.getuid()).pw_name
    assert identify(f"localhost:{os.getuid()}:{os.getgid()}:4711") == (account, 4711)


def test_a_user_without_a_name_is_its_number() -> None:
    assert identify("localhost:4294967290:0:1") == ("4294967290", 1)


@pytest.mark.parametrize("address", ["", "127.0.0.1", "localhost:0:0", "localhost:a:b:c"])
def test_an_address_of_another_form_names_nobody(address: str) -> None:
    assert identify(address) == ("unknown", None)

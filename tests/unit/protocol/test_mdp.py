from __future__ import annotations

import pytest

from intendant.protocol import mdp


@pytest.mark.parametrize(
    ("command", "octet"),
    [
        (mdp.C_REQUEST, 1),
        (mdp.C_PARTIAL, 2),
        (mdp.C_FINAL, 3),
        (mdp.W_READY, 1),
        (mdp.W_REQUEST, 2),
        (mdp.W_PARTIAL, 3),
        (mdp.W_FINAL, 4),
        (mdp.W_HEARTBEAT, 5),
        (mdp.W_DISCONNECT, 6),
    ],
)
def test_a_command_is_the_octet_that_rfc_18_gives_it(command: bytes, octet: int) -> None:
    assert command == bytes([octet])


def test_the_headers_are_those_of_majordomo_0_2() -> None:
    assert (mdp.CLIENT, mdp.WORKER) == (b"MDPC02", b"MDPW02")


@pytest.mark.parametrize(
    "name", [b"executor", b"stream", b"governor.17.1", b"mmi.service", b"!", b"~", b"x" * 255]
)
def test_printable_ascii_names_a_service(name: bytes) -> None:
    assert mdp.is_service_name(name)


@pytest.mark.parametrize(
    "name", [b"", b"two words", b"tab\t", b"nul\0", b"\x7f", b"caf\xe9", b"x" * 256]
)
def test_anything_else_names_none(name: bytes) -> None:
    assert not mdp.is_service_name(name)

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intendant.protocol.environment import decode_environment, encode_environment

names = st.binary(min_size=1).filter(lambda name: not {b"\0"[0], b"="[0]} & set(name))
values = st.binary().filter(lambda value: b"\0" not in value)


@given(st.dictionaries(names, values))
def test_an_environment_arrives_verbatim_whatever_its_bytes(
    environment: dict[bytes, bytes],
) -> None:
    assert decode_environment(encode_environment(environment)) == environment


def test_bytes_that_are_no_utf_8_survive_as_ascii() -> None:
    environment = {b"PHOTO_DIR": b"/data/caf\xe9", b"\xff": b"", b"EQUATION": b"a=b=c"}

    text = encode_environment(environment)

    assert text.isascii()
    assert list(decode_environment(text).items()) == list(environment.items())


@pytest.mark.parametrize(
    "entries",
    [b"HOME=/home/ada", b"HOME\0", b"=value\0", b"\0", b"A=1\0\0B=2\0"],
    ids=["no final NUL", "no equals sign", "no name", "an empty entry", "a gap"],
)
def test_entries_that_are_no_environment_are_refused(entries: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(an entry of )?the environment"):
        decode_environment(base64.b64encode(entries).decode())


@pytest.mark.parametrize("text", ["QT0x", "QT0x!AA=", "QT0xAA", "é"])
def test_text_that_is_no_base64_of_an_environment_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  several reasons, all of them a ValueError
        decode_environment(text)


@given(st.text())
def test_any_text_is_an_environment_or_refused(text: str) -> None:
    try:
        environment = decode_environment(text)
    except ValueError:
        return
    assert all(name and b"=" not in name for name in environment)

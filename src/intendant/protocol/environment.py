"""An environment as it travels: whatever its bytes are, they arrive verbatim."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import lru_cache


def encode_environment(environment: Mapping[bytes, bytes]) -> str:
    """Base64 of the `K=V` entries, each ended by NUL."""
    return base64.b64encode(b"".join(b"%b=%b\0" % item for item in environment.items())).decode()


def decode_environment(text: str) -> dict[bytes, bytes]:
    """What `encode_environment` encoded; `ValueError` if it is not that."""
    pairs = [entry.partition(b"=") for entry in _entries(text)]
    return {name: value for name, _, value in pairs}


@lru_cache(maxsize=8)
def check_environment(text: str) -> str:
    """`text`; `ValueError` if it is not what `encode_environment` gives.

    Whoever submits one run after the other brings the same one each time: the latest are known.
    """
    _entries(text)
    return text


def _entries(text: str) -> list[bytes]:
    """Each `K=V`."""
    entries = base64.b64decode(text, validate=True).split(b"\0")
    if entries.pop() != b"":
        raise ValueError("the environment's last entry is not ended by NUL")
    if [entry for entry in entries if entry.find(b"=") < 1]:
        raise ValueError("an entry of the environment is not K=V")
    return entries

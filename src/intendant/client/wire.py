"""Messages to and from the daemon as plain dictionaries, without the models of `protocol.messages`.

The models are what these dictionaries must agree with; the daemon checks each one against them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence

from intendant.errors import InvalidRequest, ProtocolError, refusal
from intendant.protocol.mdp import MAX_FRAME_BYTES
from intendant.protocol.version import PROTOCOL_VERSION

EXECUTOR = b"executor"
STREAM = b"stream"


def request(kind: str, **fields: object) -> list[bytes]:
    """A request's body; fields that are None have their default."""
    said = {name: value for name, value in fields.items() if value is not None}
    message = {"kind": kind, "protocol_version": PROTOCOL_VERSION, **said}
    try:
        frame = json.dumps(message, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        # Not what stands around it: that may be a secret.
        found = error.object[error.start]
        raise InvalidRequest(f"the request holds text that is not UTF-8: {found!r}") from error
    except ValueError as error:
        raise InvalidRequest(f"the request holds a number that JSON has not: {error}") from error
    if len(frame) > MAX_FRAME_BYTES:
        raise InvalidRequest(
            f"the request has {len(frame)} bytes; at most {MAX_FRAME_BYTES} can be sent at once"
        )
    return [frame]


def response(body: Sequence[bytes], *kinds: str) -> dict[str, object]:
    """The message in a body, one of `kinds`; an error response is raised as what it stands for."""
    message = _decode(body)
    kind = message.get("kind")
    if kind == "error_response":
        raise refusal(str(message.get("code")), str(message.get("message")))
    if kind not in kinds:
        raise ProtocolError(f"the daemon sent {kind!r}; expected {' or '.join(kinds)}")
    return message


def content(message: Mapping[str, object], **defaults: object) -> dict[str, object]:
    """What a message says, without its envelope and with what it left out."""
    said = {name: value for name, value in message.items() if name not in _ENVELOPE}
    return {**said, **{name: said.get(name, value) for name, value in defaults.items()}}


_ENVELOPE = ("kind", "protocol_version")


def fresh_key() -> str:
    """A key that nobody has used: it makes sending the same request twice harmless.

    It begins with the time, so that new keys are neighbours in the store's index: a batch of
    submissions writes to a page or two of it, not to one each.
    """
    return f"{time.time_ns():016x}{os.urandom(8).hex()}"


def selectors(run_ids: Sequence[int]) -> list[str]:
    """Ids as selectors, neighbours as ranges: thousands of runs fit into one request."""
    ranges: list[tuple[int, int]] = []
    for run_id in sorted(set(run_ids)):
        if ranges and ranges[-1][1] == run_id - 1:
            ranges[-1] = (ranges[-1][0], run_id)
        else:
            ranges.append((run_id, run_id))
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in ranges]
    return [",".join(texts[at : at + _PER_TEXT]) for at in range(0, len(texts), _PER_TEXT)]


_PER_TEXT = 100  # two ids of 19 digits, a dash and a comma each: below 4096 characters


def _decode(body: Sequence[bytes]) -> dict[str, object]:
    try:
        message = json.loads(body[0])
    except (IndexError, ValueError) as error:
        raise ProtocolError(f"the daemon sent what is no message: {error}") from error
    if not isinstance(message, Mapping):
        raise ProtocolError(f"the daemon sent {message!r}; expected an object")
    return dict(message)

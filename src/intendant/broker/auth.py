"""Who is let in by tcp: the keys that are known, and the answers to libzmq that ask for them.

libzmq asks about every CURVE client (RFC 26) by the ZeroMQ Authentication Protocol (RFC 27), on a
socket inside the process, before a byte of it is read. The client's key becomes the `User-Id` of
each of its messages; what the key stands for is looked up when a message comes, so a key that was
taken back is worth nothing at once, whatever connections it had.

Handshakes of sockets with a domain fail while nobody answers here (ZMQ_ZAP_ENFORCE_DOMAIN), so a
fault in this module lets nobody in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog
import zmq
from zmq.utils import z85

from intendant.broker.sockets import Context
from intendant.logs import Sparingly
from intendant.protocol.roles import Caller, governor

DOMAIN = b"intendant"
HANDLER = "inproc://zeromq.zap.01"
BATCH = 64

_VERSION = b"1.0"
_ADMITTED = (b"200", b"OK")
_REFUSED = (b"400", b"the key is not authorized")
_MALFORMED = (b"400", b"the request makes no sense")

log = structlog.get_logger()


class Keyring:
    """Every key that is let in, and who comes with it."""

    def __init__(self, authorized: Mapping[str, Caller]) -> None:
        self._authorized = dict(authorized)
        self._lent: dict[str, str] = {}

    def replace(self, authorized: Mapping[str, Caller]) -> set[str]:
        """Let these in from now on; the keys that do not stand any more for what they did."""
        before, self._authorized = self._authorized, dict(authorized)
        return {key for key, caller in before.items() if authorized.get(key) != caller}

    def lend(self, key: str, service: str) -> None:
        """Let the governor in that offers `service`, until it is taken back."""
        self._lent[key] = service

    def take_back(self, service: str) -> set[str]:
        """Keep the governor of `service` out; the keys it had."""
        keys = {key for key, lent_to in self._lent.items() if lent_to == service}
        for key in keys:
            del self._lent[key]
        return keys

    def caller(self, key: str) -> Caller | None:
        """Who comes with this key; `None`: nobody is let in with it."""
        if (service := self._lent.get(key)) is not None:
            return governor(service)
        return self._authorized.get(key)


class Gatekeeper:
    """Answers libzmq's questions; must be there before a socket with keys is bound."""

    def __init__(self, context: Context, keyring: Keyring) -> None:
        self._keyring = keyring
        self._refusals = Sparingly()
        self.socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.bind(HANDLER)

    def pump(self) -> None:
        """Answer up to `BATCH` questions."""
        for _ in range(BATCH):
            try:
                asker, *request = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            # A question comes as from a REQ socket: behind an empty frame.
            question = request[1:]
            answer = zap_answer(question, self._keyring)
            if answer[2] != _ADMITTED[0]:
                self._tell(question)
            self.socket.send_multipart([asker, b"", *answer])

    def has_input(self) -> bool:
        """Whether there are more questions."""
        return bool(int(self.socket.get(zmq.EVENTS)) & zmq.POLLIN)

    def _tell(self, question: Sequence[bytes]) -> None:
        """Log a refusal, with the key, which is public; strangers don't fill the log."""
        if (left_out := self._refusals.take()) is not None:
            address = question[3].decode(errors="replace") if len(question) > 3 else None
            log.warning("key_refused", key=_key_in(question), address=address, left_out=left_out)


def zap_answer(request: Sequence[bytes], keyring: Keyring) -> list[bytes]:
    """The answer to one question: version, request id, status code, text, user id, metadata.

    A question holds version, request id, domain, address, identity, mechanism and credentials.
    """
    number = request[1] if len(request) > 1 else b""
    key = _key_in(request)
    if key is None:
        return [_VERSION, number, *_MALFORMED, b"", b""]
    if keyring.caller(key) is None:
        return [_VERSION, number, *_REFUSED, b"", b""]
    return [_VERSION, number, *_ADMITTED, key.encode(), b""]


def _key_in(request: Sequence[bytes]) -> str | None:
    """The client's public key in a question of ours about CURVE; `None` in any other."""
    if len(request) != 7 or request[0] != _VERSION or request[2] != DOMAIN:
        return None
    mechanism, credential = request[5:]
    if mechanism != b"CURVE" or len(credential) != 32:
        return None
    return z85.encode(credential).decode()

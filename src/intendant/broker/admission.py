"""Who may offer a service and who may ask for one.

In the daemon nobody but the daemon's own process offers `executor` and `stream`, and a governor
proves by its start token that the attempt it speaks for is its own. From afar it needs besides the
key that was made for its attempt, which is good for nothing else: no other service, and no requests
but those to the executor. A broker that runs alone (`open_registration`) lets anybody offer
anything. `mmi.` is the broker's own everywhere (RFC 8).
"""

from __future__ import annotations

import hashlib
import hmac

from intendant.broker.config import BrokerConfig
from intendant.broker.services import Peer
from intendant.errors import AccessDenied, RequestRefused, ServiceUnknown
from intendant.protocol.roles import Role, governor

OWN_PREFIX = b"mmi."
GOVERNOR_PREFIX = b"governor."
EXECUTOR = b"executor"
DAEMON_SERVICES = frozenset({EXECUTOR, b"stream"})


class Admission:
    """The broker's doorkeeper."""

    def __init__(self, config: BrokerConfig) -> None:
        self._open = config.open_registration
        self._daemon_pid = config.daemon_pid
        self._token_sha256: dict[bytes, str] = {}

    def allow(self, service: bytes, token_sha256: str) -> None:
        """Whoever holds the token with this digest may offer `service`."""
        self._token_sha256[service] = token_sha256

    def forbid(self, service: bytes) -> None:
        """Nobody may offer `service` any more."""
        self._token_sha256.pop(service, None)

    def service_offered(self, peer: Peer, name: bytes) -> bytes | None:
        """The service that `peer`'s READY registers; `None`: it may not."""
        if name.startswith(OWN_PREFIX):
            return None
        if self._open:
            return name
        if name in DAEMON_SERVICES:
            return name if self._is_daemon(peer) else None
        if name.startswith(GOVERNOR_PREFIX):
            return self._governor_offered(peer, name)
        return None

    def is_exclusive(self, service: bytes) -> bool:
        """Whether a newly proven worker of `service` takes the place of the older one."""
        return not self._open and service.startswith(GOVERNOR_PREFIX)

    def refusal(self, peer: Peer, service: bytes) -> RequestRefused | None:
        """Why a request of `peer` to `service` is not even queued; `None`: it may wait."""
        if self._open:
            return None
        if peer.caller.role is Role.GOVERN and service != EXECUTOR:
            return AccessDenied("a governor's key allows requests to the executor alone")
        if service in DAEMON_SERVICES:
            return None
        if not service.startswith(GOVERNOR_PREFIX):
            return ServiceUnknown(f"there is no service {service.decode()}")
        if not peer.private:
            return AccessDenied("governors answer to the executor alone")
        if service not in self._token_sha256:
            return ServiceUnknown(f"there is no service {service.decode()}")
        return None

    def _is_daemon(self, peer: Peer) -> bool:
        return peer.private and peer.pid is not None and peer.pid == self._daemon_pid

    def _governor_offered(self, peer: Peer, name: bytes) -> bytes | None:
        service, _, token = name.rpartition(b".")
        if peer.key is not None and peer.caller != governor(service.decode()):
            return None
        expected = self._token_sha256.get(service)
        found = hashlib.sha256(token).hexdigest()
        if expected is not None and hmac.compare_digest(expected, found):
            return service
        return None


def without_token(name: bytes) -> str:
    """A service's name as it may be logged: `governor.<run>.<attempt>` at most."""
    shown = b".".join(name.split(b".")[:3]) if name.startswith(GOVERNOR_PREFIX) else name
    return shown.decode("ascii", "replace")

"""Majordomo 0.2 frames, as RFC 18/MDP defines them (https://rfc.zeromq.org/spec/18/).

Frames are listed as the peer's socket sees them, without the ROUTER's identity frame. Clients
and workers use DEALER sockets; there is no leading empty frame.

    client → broker  REQUEST     "MDPC02" 01 service body+
    broker → client  PARTIAL     "MDPC02" 02 service body+
    broker → client  FINAL       "MDPC02" 03 service body+
    worker → broker  READY       "MDPW02" 01 service
    broker → worker  REQUEST     "MDPW02" 02 client-address "" body+
    worker → broker  PARTIAL     "MDPW02" 03 client-address "" body+
    worker → broker  FINAL       "MDPW02" 04 client-address "" body+
    both             HEARTBEAT   "MDPW02" 05
    both             DISCONNECT  "MDPW02" 06
"""

from __future__ import annotations

CLIENT = b"MDPC02"
WORKER = b"MDPW02"

C_REQUEST = b"\x01"
C_PARTIAL = b"\x02"
C_FINAL = b"\x03"

W_READY = b"\x01"
W_REQUEST = b"\x02"
W_PARTIAL = b"\x03"
W_FINAL = b"\x04"
W_HEARTBEAT = b"\x05"
W_DISCONNECT = b"\x06"

HEARTBEAT_S = 5.0
LIVENESS = 3

MAX_SERVICE_BYTES = 255
_PRINTABLE = bytes(range(0x21, 0x7F))
MAX_FRAME_BYTES = 4 * 1024 * 1024
MAX_FRAMES = 16
CURVE_OVERHEAD_BYTES = 64
"""What encryption may add to a frame on its way (RFC 26: 33 bytes)."""


def is_service_name(name: bytes) -> bool:
    """Whether `name` is a printable ASCII string of 1 to 255 bytes (RFC 18 is silent)."""
    return 0 < len(name) <= MAX_SERVICE_BYTES and not name.translate(None, _PRINTABLE)

"""How broker and workers say no: an `ErrorResponse` as one JSON frame, made without pydantic."""

from __future__ import annotations

import json

from intendant.errors import RequestRefused
from intendant.protocol.version import PROTOCOL_VERSION


def error_frame(error: RequestRefused) -> bytes:
    """The body of the FINAL that refuses a request."""
    return json.dumps(
        {
            "kind": "error_response",
            "protocol_version": PROTOCOL_VERSION,
            "code": error.code,
            "message": str(error),
        }
    ).encode()

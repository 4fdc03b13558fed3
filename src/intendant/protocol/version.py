"""The protocol version, which every message carries; apart from the models: it costs nothing."""

from __future__ import annotations

PROTOCOL_VERSION = 1

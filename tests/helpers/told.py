"""A governor that nobody nearby has launched: it reads its order from stdin, and stays there."""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

from intendant.governor.main import main as govern
from intendant.process.birth import Birth
from intendant.protocol.order import Standing


class _Told(Birth):
    """Settled in already, and without anybody at the other end of its report socket."""

    def __init__(self, order: dict[str, Any], report: socket.socket) -> None:
        standing = {name: order.pop(name) for name in Standing.model_fields}
        super().__init__(standing, report)
        self._order = order

    def wait_order(self) -> dict[str, Any]:
        return self._order

    def settle_in(self) -> None:
        pass


def main() -> int:
    """Govern the attempt of the order on stdin."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.close()
    return govern(_Told(json.load(sys.stdin), ours))


if __name__ == "__main__":
    sys.exit(main())

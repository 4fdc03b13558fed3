"""Which kind of connection an endpoint gets."""

from __future__ import annotations

from collections.abc import Callable

from intendant.broker.dealer import Dealer, ZmqDealer
from intendant.broker.keys import ClientKeys
from intendant.broker.unix_dealer import UnixDealer

_PATH = "ipc:///"


def connect_dealer(
    endpoint: str,
    on_activity: Callable[[], None] | None = None,
    *,
    keys: ClientKeys | None = None,
) -> Dealer:
    """A connection to the broker at `endpoint`: without a library where both share a machine."""
    if endpoint.startswith(_PATH) and keys is None:
        return UnixDealer(endpoint.removeprefix("ipc://"), on_activity)
    return ZmqDealer(endpoint, on_activity, keys=keys)

"""What must hold of the broker's core between any two calls."""

from __future__ import annotations

from collections.abc import Iterable

from intendant.broker.core import MAX_HELD, BrokerCore
from intendant.broker.services import Peer


def check_invariants(core: BrokerCore, peers: Iterable[Peer]) -> None:
    """No two views of the same fact differ."""
    _check_order(core)
    _check_services(core)
    for peer in peers:
        assert core._workers.get(peer) is peer.worker
        open_requests = peer.requests.values()
        assert all(r.client is peer and not r.abandoned for r in open_requests)
        queued = [r for r in open_requests if r.worker is None]
        assert all(core._waiting.get(r.number) is r for r in queued), "neither here nor there"
    assert len(core._held) <= MAX_HELD


def _check_order(core: BrokerCore) -> None:
    heard = [worker.heard_at for worker in core._workers.values()]
    sent = [worker.sent_at for worker in core._by_sent.values()]
    expiry = [request.expires_at for request in core._waiting.values()]
    for times in (heard, sent, expiry):
        assert times == sorted(times)


def _check_services(core: BrokerCore) -> None:
    services = core._services.values()
    assert core._workers.keys() == core._by_sent.keys()
    assert sum(len(s.workers) for s in services) == len(core._workers)
    assert sum(s.waiting.length for s in services) == len(core._waiting)
    assert not any(s.idle and s.waiting.length for s in services), "idle while requests wait"
    assert not any(s.unused for s in services), "unused services"
    assert sum(r.size_bytes for r in core._waiting.values()) == core._waiting_bytes
    for worker in core._workers.values():
        assert (worker.request is None) == (worker.peer in worker.service.idle)
        assert worker.request is None or worker.request.worker is worker

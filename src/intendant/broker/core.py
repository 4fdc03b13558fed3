"""Majordomo 0.2 (RFC 18/MDP, RFC 8/MMI) without a socket and without a clock.

Messages go in, messages to send come out; whoever owns the sockets calls `receive` for each
message, `tick` when `next_deadline` is reached, and `send_failed` when a message could not be
sent. A core never raises at what a peer sent.

Invalid messages are dropped; an invalid message from a registered worker ends its registration.
A worker that is sent DISCONNECT, or that sent one, gets nothing any more on that socket.

What the RFCs leave open, and what stands here for it, by the rules of `protocol/conformance.md`:

A4  The client-address frame is made by the broker: `<request number>:<role>:<all|own>:<account>`,
    where the last three say who the client is (`protocol.roles`). The number is given once, so an
    answer to an older request is recognised; a worker may answer the address it was given and no
    other.
B2  A client may send a second request before the first FINAL. Its requests are handed out in
    order; answers come as workers finish. It may fill half of a service's queue at most.
A7  An invalid message of a client is dropped; what it sends afterwards is served.
C12 A socket is a client's or a worker's: READY from a client with open requests is refused, and
    REQUEST from a worker ends its registration.
E3  A request that can't be served gets a FINAL with an error: `service_unknown`, `access_denied`,
    `busy` (a bound is reached), `request_expired` (nobody took it), `worker_lost` (the worker died,
    left or was expired with the request in hand). Services in `redeliver` give such a request to
    another worker, first in line, once, if no PARTIAL was passed on. A request that never reached
    the worker (the send failed) goes back to the head of the line in any case.
H2  A client that is gone in the middle of a stream costs its worker a DISCONNECT, so that the
    handler ends. So does a client that reads too slowly; it gets the error `slow_reader` as soon
    as that fits. A FINAL that does not fit is tried again for `waiting_s`, then dropped.
D1  A heartbeat leaves a tenth of an interval early, and those that are due soon leave with it, so
    that a hundred idle workers wake the broker a few times in an interval. Our workers answer it
    with their own, which is due soon as well: what wakes them is that alone.
D9  Nobody is judged after a stall: when no time was told for more than one and a half intervals,
    workers and requests expire one interval later at the earliest, when what arrived meanwhile
    has been read.
A9  Service names are printable ASCII, 1 to 255 bytes. `mmi.service` without a proper name: 404.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import structlog

from intendant.broker.admission import OWN_PREFIX, Admission, without_token
from intendant.broker.config import BrokerConfig
from intendant.broker.refusals import error_frame
from intendant.broker.services import Frames, Outgoing, Peer, Request, Service, Worker
from intendant.errors import (
    AccessDenied,
    Busy,
    RequestExpired,
    RequestRefused,
    ServiceUnknown,
    SlowReader,
    WorkerLost,
)
from intendant.logs import Sparingly
from intendant.protocol import mdp

MAX_WAITING = 100_000
MAX_WAITING_BYTES = 256 * 1024 * 1024
MAX_HELD = 256
_DUE, _NEARLY_DUE = 0.9, 0.7
"""Heartbeats: after which share of an interval of saying nothing."""

log = structlog.get_logger()

_ABOUT_A_REQUEST = (mdp.W_FINAL, mdp.W_PARTIAL, mdp.W_REQUEST)


@dataclass(slots=True)
class Counts:
    """What happened since the start."""

    requests: int = 0
    replies: int = 0
    dropped: int = 0
    invalid: int = 0
    expired: int = 0


class BrokerCore:
    """The broker's state and every rule of it."""

    def __init__(
        self, config: BrokerConfig, on_presence: Callable[[str, bool], None] = lambda *_: None
    ) -> None:
        """`on_presence` hears when a governor registers (True) and when it falls silent (False)."""
        self._config = config
        self._waiting_s = config.waiting_s
        self._on_presence = on_presence
        self._admission = Admission(config)
        self._services: dict[bytes, Service] = {}
        self._workers: OrderedDict[Peer, Worker] = OrderedDict()  # heard of longest ago first
        self._by_sent: OrderedDict[Peer, Worker] = OrderedDict()  # sent to longest ago first
        self._waiting: OrderedDict[int, Request] = OrderedDict()  # the next to expire first
        self._waiting_bytes = 0
        self._held: list[Outgoing] = []
        self._counts = Counts()
        self._refusals = Sparingly(clock=lambda: self._now)
        self._last_number = 0
        self._now = 0.0
        self._judge_from = 0.0
        self._out: list[Outgoing] = []
        self._on_worker_command: dict[object, Callable[[Peer, Frames], None]] = {
            mdp.W_READY: self._on_ready,
            mdp.W_REQUEST: self._on_unexpected,
            mdp.W_PARTIAL: self._on_partial,
            mdp.W_FINAL: self._on_final,
            mdp.W_HEARTBEAT: self._on_heartbeat,
            mdp.W_DISCONNECT: self._on_disconnect,
        }

    # --- what the owner of the sockets calls ------------------------------------------------------

    def receive(self, peer: Peer, frames: Frames, now: float) -> list[Outgoing]:
        """Take in one message."""
        self._pass_time(now)
        header = frames[0] if frames else None
        if header == mdp.CLIENT:
            self._on_client_message(peer, frames)
        elif header == mdp.WORKER:
            self._on_worker_message(peer, frames)
        else:
            self._on_invalid(peer)
        return self._take_out()

    def tick(self, now: float) -> list[Outgoing]:
        """Do what has become due: heartbeats, expiry, another try for what did not fit."""
        self._pass_time(now)
        if now >= self._judge_from:
            self._expire_workers()
            self._expire_requests()
        self._send_heartbeats()
        self._retry_held()
        return self._take_out()

    def probe(self, now: float) -> list[Outgoing]:
        """Say something to every worker with a request in hand: whose connection is closed is lost.

        Somebody's is, and the transport does not say whose.
        """
        self._pass_time(now)
        for worker in self._workers.values():
            if worker.request is not None:
                self._to_worker(worker, (mdp.WORKER, mdp.W_HEARTBEAT))
        return self._take_out()

    def peer_gone(self, peer: Peer, now: float) -> list[Outgoing]:
        """The connection of `peer` is closed."""
        self._pass_time(now)
        self._on_gone(peer)
        return self._take_out()

    def send_failed(self, failed: Outgoing, now: float, *, gone: bool) -> list[Outgoing]:
        """`failed` was not sent: its peer is `gone`, or does not read what it was sent before."""
        self._pass_time(now)
        self._counts.dropped += 1
        peer, frames, request = failed
        if (worker := peer.worker) is not None:
            self._on_worker_unreachable(worker, request, gone=gone)
        elif gone:
            self._on_gone(peer)
        elif request is not None:
            self._on_slow_client(request, frames)
        return self._take_out()

    def shut_down(self) -> list[Outgoing]:
        """Say goodbye to every worker."""
        for worker in list(self._workers.values()):
            self._send_disconnect(worker.peer)
        return self._take_out()

    def allow(self, service: str, token_sha256: str) -> None:
        """Who holds the token with this digest may register `service`; requests to it may wait."""
        self._admission.allow(service.encode(), token_sha256)

    def forbid(self, service: str) -> list[Outgoing]:
        """`service` is over: its worker is dismissed, requests that wait for it are refused."""
        name = service.encode()
        self._admission.forbid(name)
        self._dismiss_all(name, "forbidden")
        if (known := self._services.get(name)) is not None:
            while (request := known.waiting.pop()) is not None:
                self._stop_waiting(request)
                self._refuse(request, ServiceUnknown(f"the service {service} has ended"))
            self._forget_if_unused(known)
        return self._take_out()

    @property
    def next_deadline(self) -> float | None:
        """When `tick` has something to do; `None`: not before another message."""
        deadlines = []
        if self._by_sent:
            sent_at = next(iter(self._by_sent.values())).sent_at
            deadlines.append(sent_at + _DUE * self._config.heartbeat_s)
        if self._workers:
            heard_at = next(iter(self._workers.values())).heard_at
            deadlines.append(max(heard_at + self._config.expiry_s, self._judge_from))
        if self._waiting:
            expires_at = next(iter(self._waiting.values())).expires_at
            deadlines.append(max(expires_at, self._judge_from))
        return min(deadlines, default=None)

    def has_workers(self, services: Iterable[bytes]) -> bool:
        """Whether anybody offers one of these services."""
        known = (self._services.get(name) for name in services)
        return any(service is not None and service.workers for service in known)

    @property
    def counters(self) -> dict[str, int]:
        """What happened so far, how many workers there are and how many requests wait."""
        return {
            **asdict(self._counts),
            "workers": len(self._workers),
            "waiting": len(self._waiting),
        }

    # --- clients ----------------------------------------------------------------------------------

    def _on_client_message(self, peer: Peer, frames: Frames) -> None:
        if len(frames) < 4 or frames[1] != mdp.C_REQUEST or peer.worker is not None:
            self._on_invalid(peer)
            return
        name = frames[2]
        service = self._services.get(name)
        if service is None and not mdp.is_service_name(name):
            self._on_invalid(peer)
            return
        self._counts.requests += 1
        self._last_number = number = self._last_number + 1
        request = Request(number, peer, name, frames[3:], b"%d:%b" % (number, peer.spelled))
        if name.startswith(OWN_PREFIX):
            self._reply(request, mdp.C_FINAL, [self._answer_mmi(name, request.body)])
        elif (refusal := self._admission.refusal(peer, name)) is not None:
            if isinstance(refusal, AccessDenied):
                self._warn("request_refused", peer, service=without_token(name))
            self._refuse(request, refusal)
        else:
            self._hand_out_or_queue(request, service or Service(name))

    def _hand_out_or_queue(self, request: Request, service: Service) -> None:
        if service.idle:
            self._open(request)
            self._assign(service.take_idle(), request)
        elif (refusal := self._why_full(service, request)) is not None:
            self._refuse(request, refusal)
        else:
            self._services[service.name] = service
            self._open(request)
            service.waiting.append(request)
            self._start_waiting(request)

    def _why_full(self, service: Service, request: Request) -> RequestRefused | None:
        """Why `request` may not even wait; `None`: there is room."""
        if self._has_all_streams(service):
            return Busy(f"all {len(service.workers)} streams are taken")
        request.size_bytes = sum(map(len, request.body))
        waiting, limit = service.waiting, self._config.max_queue
        if waiting.length >= limit or len(self._waiting) >= MAX_WAITING:
            return Busy(f"{waiting.length} requests wait for {service.name.decode()} already")
        share = max(1, limit // 2)
        if len(request.client.requests) >= share and waiting.count_of(request.client) >= share:
            return Busy(
                f"this client has {share} requests waiting for {service.name.decode()} already"
            )
        if self._waiting_bytes + request.size_bytes > MAX_WAITING_BYTES:
            return Busy("the requests that wait fill the broker's memory")
        return None

    def _has_all_streams(self, service: Service) -> bool:
        """Whether no more workers than these will be started; others are as they are needed."""
        if service.name != b"stream" or self._config.open_registration:
            return False
        return len(service.workers) >= self._config.max_streams

    def _answer_mmi(self, name: bytes, body: Frames) -> bytes:
        """RFC 8: `mmi.service` says 200 or 404; anything else is not implemented."""
        if name != b"mmi.service":
            return b"501"
        service = self._services.get(bytes(body[0])) if len(body) == 1 else None
        return b"200" if service is not None and service.workers else b"404"

    # --- workers ----------------------------------------------------------------------------------

    def _on_worker_message(self, peer: Peer, frames: Frames) -> None:
        if peer.dismissed:
            self._counts.dropped += 1
            return
        handler = self._on_worker_command.get(frames[1]) if len(frames) > 1 else None
        if handler is None or not _is_well_formed(frames):
            self._on_invalid(peer)
            return
        if (worker := peer.worker) is not None:
            worker.heard_at = self._now
            self._workers.move_to_end(peer)
        handler(peer, frames)

    def _on_ready(self, peer: Peer, frames: Frames) -> None:
        offered = frames[2]
        if peer.worker is not None:
            self._on_unexpected(peer, frames)
            return
        name = self._admission.service_offered(peer, offered)
        if name is None or peer.requests:
            self._warn("worker_refused", peer, service=without_token(offered))
            self._counts.invalid += 1
            self._send_disconnect(peer)
            return
        if self._admission.is_exclusive(name):
            self._dismiss_all(name, "replaced")
        self._register(peer, name)

    def _warn(self, event: str, peer: Peer, *, service: str) -> None:
        """Log what a peer was refused; it may try as often as it likes."""
        if (left_out := self._refusals.take()) is not None:
            log.warning(
                event, service=service, account=peer.account, pid=peer.pid, left_out=left_out
            )

    def _register(self, peer: Peer, name: bytes) -> None:
        service = self._services.setdefault(name, Service(name))
        worker = Worker(peer, service, heard_at=self._now, sent_at=self._now)
        peer.worker = service.workers[peer] = self._workers[peer] = self._by_sent[peer] = worker
        log.debug("worker_registered", service=name.decode(), pid=peer.pid)
        self._tell_presence(name, True)
        self._go_on(worker)

    def _tell_presence(self, name: bytes, is_present: bool) -> None:
        if self._admission.is_exclusive(name):
            self._on_presence(name.decode(), is_present)

    def _on_unexpected(self, peer: Peer, frames: Frames) -> None:
        """A valid command at the wrong moment: DISCONNECT, then silence (RFC 18)."""
        self._counts.invalid += 1
        if (worker := peer.worker) is not None:
            self._dismiss_offender(worker, f"unexpected command {frames[1]!r}")
        else:
            self._send_disconnect(peer)

    def _on_partial(self, peer: Peer, frames: Frames) -> None:
        worker = peer.worker
        if worker is None or (request := _answered(worker, frames)) is None:
            self._on_unexpected(peer, frames)
        elif request.abandoned:
            self._dismiss(worker, "client gone")
        else:
            request.partials += 1
            self._reply(request, mdp.C_PARTIAL, frames[4:])

    def _on_final(self, peer: Peer, frames: Frames) -> None:
        worker = peer.worker
        if worker is None or (request := _answered(worker, frames)) is None:
            self._on_unexpected(peer, frames)
        else:
            self._finish(request, frames[4:])
            self._go_on(worker)

    def _on_heartbeat(self, peer: Peer, frames: Frames) -> None:
        if peer.worker is None:
            self._on_unexpected(peer, frames)

    def _on_disconnect(self, peer: Peer, _frames: Frames) -> None:
        self._silence(peer)
        if (worker := peer.worker) is not None:
            self._remove(worker)

    def _on_invalid(self, peer: Peer) -> None:
        self._counts.invalid += 1
        if (worker := peer.worker) is not None:
            self._dismiss_offender(worker, "invalid message")
        else:
            log.debug("message_dropped", account=peer.account, pid=peer.pid)

    # --- peers that can't be reached --------------------------------------------------------------

    def _on_worker_unreachable(
        self, worker: Worker, request: Request | None, *, gone: bool
    ) -> None:
        if request is not None and worker.request is request:
            worker.request = None
            self._remove(worker)
            self._requeue(request)
        elif gone:
            self._remove(worker)

    def _on_gone(self, peer: Peer) -> None:
        peer.dismissed = False
        self._held = [final for final in self._held if final[0] is not peer]
        if (worker := peer.worker) is not None:
            self._remove(worker)
        requests, peer.requests = peer.requests, {}
        for request in requests.values():
            self._abandon(request)

    def _abandon(self, request: Request) -> None:
        """Nobody waits for the answer to `request` any more."""
        request.abandoned = True
        if request.worker is None:
            service = self._services[request.service]
            service.waiting.remove(request)
            self._stop_waiting(request)
            self._forget_if_unused(service)
        elif request.partials:
            self._dismiss(request.worker, "client gone")

    def _on_slow_client(self, request: Request, frames: Frames) -> None:
        """`frames` of an answer did not fit."""
        if frames[1] == mdp.C_FINAL:
            self._hold(request, frames)
        elif (worker := request.worker) is not None:
            worker.request = None
            self._dismiss(worker, "client too slow")
            error = error_frame(SlowReader("the stream was read too slowly and was cut off"))
            self._close(request)
            self._hold(request, [mdp.CLIENT, mdp.C_FINAL, request.service, error])

    def _hold(self, request: Request, final: Frames) -> None:
        if request.held_until is None:
            request.held_until = self._now + self._waiting_s
        if len(self._held) < MAX_HELD and self._now < request.held_until:
            self._held.append((request.client, final, request))

    def _retry_held(self) -> None:
        held, self._held = self._held, []
        self._out += held

    # --- requests ---------------------------------------------------------------------------------

    def _open(self, request: Request) -> None:
        request.client.requests[request.number] = request

    def _close(self, request: Request) -> None:
        request.worker = None
        request.client.requests.pop(request.number, None)

    def _assign(self, worker: Worker, request: Request) -> None:
        worker.request, request.worker = request, worker
        frames = [mdp.WORKER, mdp.W_REQUEST, request.address, b"", *request.body]
        self._to_worker(worker, frames, request)

    def _go_on(self, worker: Worker) -> None:
        """`worker` has nothing in hand: it gets the next request, or waits for one."""
        request = worker.service.waiting.pop()
        if request is not None:
            self._stop_waiting(request)
            self._assign(worker, request)
        else:
            worker.service.free(worker)

    def _finish(self, request: Request, body: Frames) -> None:
        """The request's one FINAL."""
        self._close(request)
        self._reply(request, mdp.C_FINAL, body)

    def _refuse(self, request: Request, error: RequestRefused) -> None:
        self._finish(request, [error_frame(error)])

    def _reply(self, request: Request, command: bytes, body: Frames) -> None:
        if request.abandoned:
            self._counts.dropped += 1
            return
        if command == mdp.C_FINAL:
            self._counts.replies += 1
        frames = [mdp.CLIENT, command, request.service, *body]
        self._out.append((request.client, frames, request))

    def _start_waiting(self, request: Request) -> None:
        request.expires_at = self._now + self._waiting_s
        self._waiting[request.number] = request
        self._waiting_bytes += request.size_bytes

    def _stop_waiting(self, request: Request) -> None:
        del self._waiting[request.number]
        self._waiting_bytes -= request.size_bytes

    def _requeue(self, request: Request) -> None:
        """Back to the head of the line, for the next worker."""
        request.worker = None
        if request.abandoned:
            self._close(request)
            return
        service = self._services.setdefault(request.service, Service(request.service))
        service.waiting.append_left(request)
        self._start_waiting(request)
        if service.idle:
            self._go_on(service.take_idle())

    def _on_worker_lost(self, request: Request) -> None:
        again = request.service in self._config.redeliver and not request.partials
        if again and not request.redelivered and not request.abandoned:
            request.redelivered = True
            self._requeue(request)
        else:
            name = request.service.decode()
            self._refuse(request, WorkerLost(f"the worker of {name} was lost"))

    # --- the end of workers and services ----------------------------------------------------------

    def _dismiss_all(self, name: bytes, reason: str) -> None:
        if (service := self._services.get(name)) is not None:
            for worker in list(service.workers.values()):
                self._dismiss(worker, reason)

    def _dismiss(self, worker: Worker, reason: str) -> None:
        """Tell `worker` to go, and lose it."""
        log.debug("worker_dismissed", service=worker.service.name.decode(), reason=reason)
        self._send_disconnect(worker.peer)
        self._remove(worker)

    def _dismiss_offender(self, worker: Worker, offence: str) -> None:
        """Dismiss `worker` for what it sent."""
        if (left_out := self._refusals.take()) is not None:
            service = worker.service.name.decode()
            log.warning("worker_misbehaved", service=service, offence=offence, left_out=left_out)
        self._dismiss(worker, offence)

    def _remove(self, worker: Worker) -> None:
        """Lose `worker`; what it had in hand is refused or given to another one."""
        worker.peer.worker = None
        del self._workers[worker.peer]
        del self._by_sent[worker.peer]
        worker.service.drop(worker)
        request, worker.request = worker.request, None
        if request is not None:
            self._on_worker_lost(request)
        self._forget_if_unused(worker.service)

    def _forget_if_unused(self, service: Service) -> None:
        if service.unused and self._services.get(service.name) is service:
            del self._services[service.name]

    def _send_disconnect(self, peer: Peer) -> None:
        self._out.append((peer, (mdp.WORKER, mdp.W_DISCONNECT), None))
        self._silence(peer)

    def _silence(self, peer: Peer) -> None:
        """Neither hear nor address the worker at `peer` any more."""
        peer.dismissed = True

    # --- time -------------------------------------------------------------------------------------

    def _pass_time(self, now: float) -> None:
        """Note the time; a gap that heartbeats should have filled puts all judgement off (D9)."""
        stalled = now - self._now > 1.5 * self._config.heartbeat_s
        if stalled and self._workers:
            self._judge_from = now + self._config.heartbeat_s
        self._now = now

    def _expire_workers(self) -> None:
        horizon = self._now - self._config.expiry_s
        while self._workers:
            worker = next(iter(self._workers.values()))
            if worker.heard_at > horizon:
                return
            self._counts.expired += 1
            self._tell_presence(worker.service.name, False)
            log.info("worker_expired", service=worker.service.name.decode(), pid=worker.peer.pid)
            self._remove(worker)

    def _expire_requests(self) -> None:
        while self._waiting:
            request = next(iter(self._waiting.values()))
            if request.expires_at > self._now:
                return
            self._counts.expired += 1
            service = self._services[request.service]
            service.waiting.remove(request)
            self._stop_waiting(request)
            self._forget_if_unused(service)
            name = request.service.decode()
            self._refuse(request, RequestExpired(f"no worker of {name} took the request in time"))

    def _send_heartbeats(self) -> None:
        share = _DUE
        while self._by_sent:
            worker = next(iter(self._by_sent.values()))
            if worker.sent_at > self._now - share * self._config.heartbeat_s:
                return
            self._to_worker(worker, (mdp.WORKER, mdp.W_HEARTBEAT))
            share = _NEARLY_DUE  # the others' with it

    def _to_worker(self, worker: Worker, frames: Frames, request: Request | None = None) -> None:
        worker.sent_at = self._now
        self._by_sent.move_to_end(worker.peer)
        self._out.append((worker.peer, frames, request))

    def _take_out(self) -> list[Outgoing]:
        out, self._out = self._out, []
        return out


def _is_well_formed(frames: Frames) -> bool:
    """Whether a worker's command has the frames that RFC 18 gives it."""
    command = frames[1]
    if command in _ABOUT_A_REQUEST:
        return len(frames) >= 5 and len(frames[2]) > 0 and len(frames[3]) == 0
    if command == mdp.W_READY:
        return len(frames) == 3 and mdp.is_service_name(frames[2])
    return len(frames) == 2


def _answered(worker: Worker, frames: Frames) -> Request | None:
    """What `worker` has in hand, if that is what `frames` answer."""
    request = worker.request
    return request if request is not None and request.address == frames[2] else None

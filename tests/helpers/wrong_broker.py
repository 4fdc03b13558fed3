"""A broker with one fault at a time: ours, misunderstanding what it hears or says.

A fault changes a message before the core reads it (`hear`; `None`: it is not read at all) or what
the core wants sent (`say`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from intendant.broker.config import BrokerConfig
from intendant.broker.core import BrokerCore
from intendant.broker.services import Frames, Outgoing, Peer, Request
from intendant.protocol import mdp

Words = list[object]
Hear = Callable[["WrongCore", Peer, Words], "Words | None"]


class Out(NamedTuple):
    """What the core wants sent."""

    peer: Peer
    frames: Frames
    request: Request | None = None


Say = Callable[["WrongCore", Out], list[Out]]


def as_is(_core: WrongCore, _peer: Peer, words: Words) -> Words | None:
    return words


def as_meant(_core: WrongCore, out: Out) -> list[Out]:
    return [out]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and the rules that it breaks."""

    breaks: tuple[str, ...]
    hear: Hear = as_is
    say: Say = as_meant
    while_idle: Callable[[WrongCore], None] = lambda _: None
    heartbeat_s: float = 2.0


class WrongCore(BrokerCore):
    """The core behind a fault, and what a fault may want to know."""

    def __init__(self, fault: Fault) -> None:
        config = BrokerConfig(open_registration=True, heartbeat_s=fault.heartbeat_s)
        super().__init__(config)
        self._fault = fault
        self.heartbeat_s = fault.heartbeat_s
        self.is_dead = False
        self.ready: dict[Peer, object] = {}
        self.asked: dict[object, Request] = {}
        self.clients: list[Peer] = []
        self.busy: list[Peer] = []
        self.names: set[object] = set()
        self.extra: deque[Outgoing] = deque(maxlen=100)

    def receive(self, peer: Peer, frames: Frames, now: float) -> list[Outgoing]:
        words = self._fault.hear(self, peer, list(frames))
        if words is None or self.is_dead:
            return self._spoken([])
        if words[:2] == [mdp.WORKER, mdp.W_READY]:
            self.ready[peer] = words[2] if len(words) > 2 else b""
        if words[:1] == [mdp.CLIENT]:
            self.clients.append(peer)
        return self._spoken(super().receive(peer, words, now))

    def tick(self, now: float) -> list[Outgoing]:
        self._fault.while_idle(self)
        return self._spoken(super().tick(now))

    def peer_gone(self, peer: Peer, now: float) -> list[Outgoing]:
        if self._fault is FAULTS["it dies with a client"] and peer.requests:
            self.is_dead = True
        return super().peer_gone(peer, now)

    def tell(self, peer: Peer, *frames: object) -> None:
        """Say something of its own."""
        self.extra.append(Out(peer, list(frames)))

    def _spoken(self, messages: list[Outgoing]) -> list[Outgoing]:
        outs = [Out(*message) for message in messages]
        for out in outs:
            if out.frames[:2] == [mdp.WORKER, mdp.W_REQUEST] and out.request:
                self.asked[out.frames[2]] = out.request
                self.busy.append(out.peer)
        said: list[Outgoing] = [each for out in outs for each in self._fault.say(self, out)]
        said += self.extra
        self.extra.clear()
        return said


def changed(out: Out, frames: Words) -> list[Out]:
    """The same message in other words."""
    return [Out(out.peer, frames, out.request)]


# --- what it mishears -----------------------------------------------------------------------------


def ignoring(*beginnings: list[bytes]) -> Hear:
    """Messages that begin like this are not read."""

    def hear(_core: WrongCore, _peer: Peer, words: Words) -> Words | None:
        return None if any(words[: len(start)] == start for start in beginnings) else words

    return hear


def dying_of_noise(core: WrongCore, _peer: Peer, words: Words) -> Words | None:
    if not words or words[0] not in (mdp.CLIENT, mdp.WORKER):
        core.is_dead = True
    return words


def lenient_with_delimiters(_core: WrongCore, _peer: Peer, words: Words) -> Words | None:
    if words[:1] == [mdp.WORKER] and len(words) == 4:
        return [*words[:3], b"", words[3]]
    return words


def lenient_with_workers(core: WrongCore, peer: Peer, words: Words) -> Words | None:
    is_invalid = words[1:2] == [b"\x09"] or (words[1:2] == [mdp.W_HEARTBEAT] and len(words) > 2)
    return None if peer in core.ready and is_invalid else words


def lenient_with_bodies(_core: WrongCore, _peer: Peer, words: Words) -> Words | None:
    return [*words, b""] if words[:2] == [mdp.CLIENT, mdp.C_REQUEST] and len(words) == 3 else words


def lenient_with_names(_core: WrongCore, _peer: Peer, words: Words) -> Words | None:
    if len(words) > 2 and isinstance(name := words[2], bytes) and not mdp.is_service_name(name):
        return [*words[:2], name[:100].hex().encode(), *words[3:]]
    return words


def taking_answers_for_requests(_core: WrongCore, _peer: Peer, words: Words) -> Words | None:
    return [mdp.CLIENT, mdp.C_REQUEST, *words[2:]] if words[:1] == [mdp.CLIENT] else words


def lenient_with_first_frames(_core: WrongCore, _peer: Peer, words: Words) -> Words | None:
    return [_bytes(word) for word in words[1:]] if words[:1] == [b""] else words


def passing_on_late_answers(core: WrongCore, _peer: Peer, words: Words) -> Words | None:
    is_answer = len(words) > 4 and words[1] in (mdp.W_PARTIAL, mdp.W_FINAL)
    request = core.asked.get(words[2]) if is_answer else None
    if request is None or request.worker is not None:
        return words
    command = mdp.C_FINAL if words[1] == mdp.W_FINAL else mdp.C_PARTIAL
    core.tell(request.client, mdp.CLIENT, command, request.service, *words[4:])
    return None


def passing_on_forged_answers(core: WrongCore, peer: Peer, words: Words) -> Words | None:
    request = core.asked.get(words[2]) if len(words) > 4 and words[1] == mdp.W_FINAL else None
    if request is not None and request.worker is not None and request.worker.peer is not peer:
        core.tell(request.client, mdp.CLIENT, mdp.C_FINAL, request.service, *words[4:])
    return words


def passing_partials_unseen(core: WrongCore, _peer: Peer, words: Words) -> Words | None:
    request = core.asked.get(words[2]) if words[1:2] == [mdp.W_PARTIAL] else None
    if request is None:
        return words
    core.tell(request.client, mdp.CLIENT, mdp.C_PARTIAL, request.service, *words[4:])
    return None


def refusing_to_wait(core: WrongCore, _peer: Peer, words: Words) -> Words | None:
    if words[:2] == [mdp.CLIENT, mdp.C_REQUEST] and not _is_mmi(words):
        service = words[2]
        return words if isinstance(service, bytes) and core.has_workers([service]) else None
    return words


def one_worker_for_each_service(core: WrongCore, peer: Peer, words: Words) -> Words | None:
    is_second = words[:2] == [mdp.WORKER, mdp.W_READY] and words[2] in core.ready.values()
    return None if is_second and peer not in core.ready else words


def ignoring_a_second_ready(core: WrongCore, peer: Peer, words: Words) -> Words | None:
    return None if words[1:2] == [mdp.W_READY] and peer in core.ready else words


def answering_farewells(core: WrongCore, peer: Peer, words: Words) -> Words | None:
    if words == [mdp.WORKER, mdp.W_DISCONNECT] and peer not in core.ready:
        core.tell(peer, mdp.WORKER, mdp.W_DISCONNECT)
    return words


def answering_noise(core: WrongCore, peer: Peer, words: Words) -> Words | None:
    if words[:1] not in ([mdp.CLIENT], [mdp.WORKER]):
        core.tell(peer, mdp.WORKER, mdp.W_DISCONNECT)
    return words


def unforgiving(core: WrongCore, peer: Peer, words: Words) -> Words | None:
    if words[1:2] != [mdp.W_READY]:
        return words
    if peer in core.ready:
        core.names.add(words[2])
    return words if peer in core.ready or words[2] not in core.names else None


def keeping_workers_that_ask(core: WrongCore, peer: Peer, words: Words) -> Words | None:
    return None if words[:1] == [mdp.CLIENT] and peer in core.ready else words


def registering_by_heartbeat(core: WrongCore, peer: Peer, words: Words) -> Words | None:
    if words == [mdp.WORKER, mdp.W_HEARTBEAT] and peer not in core.ready:
        core.busy.append(peer)
        return None
    if words[:1] == [mdp.CLIENT] and core.busy and not _is_mmi(words):
        core.tell(core.busy[-1], mdp.WORKER, mdp.W_REQUEST, b"1:x", b"", *words[3:])
    return words


def two_requests_at_a_time(core: WrongCore, _peer: Peer, words: Words) -> Words | None:
    if words[:1] == [mdp.CLIENT] and core.busy and not _is_mmi(words):
        core.tell(core.busy[-1], mdp.WORKER, mdp.W_REQUEST, b"9:x", b"", *words[3:])
        return None
    return words


def queueing_mmi(_core: WrongCore, _peer: Peer, words: Words) -> Words | None:
    return None if _is_mmi(words) and words[2] != b"mmi.service" else words


def hijacking_names(core: WrongCore, peer: Peer, words: Words) -> Words | None:
    name = words[2] if len(words) > 3 and words[0] == mdp.CLIENT else None
    if isinstance(name, bytes) and name.find(b"mmi.") > 0:
        core.tell(peer, mdp.CLIENT, mdp.C_FINAL, name, b"404")
        return None
    return words


def _is_mmi(words: Words) -> bool:
    name = words[2] if len(words) > 2 and words[0] == mdp.CLIENT else None
    return isinstance(name, bytes) and name.startswith(b"mmi.")


def newest_first(core: WrongCore, _peer: Peer, words: Words) -> Words | None:
    if words[1:2] == [mdp.W_FINAL]:
        for service in core._services.values():
            for line in service.waiting._by_client.values():
                line.move_to_end(next(reversed(line)), last=False)
    return words


def first_come_first_served(core: WrongCore, _peer: Peer, words: Words) -> Words | None:
    if words[1:2] == [mdp.W_FINAL]:
        for service in core._services.values():
            lines = service.waiting._by_client
            for client in sorted(lines, key=lambda one: next(iter(lines[one])))[:1]:
                lines.move_to_end(client, last=False)
    return words


def last_idle_first(core: WrongCore, _peer: Peer, words: Words) -> Words | None:
    if words[:1] == [mdp.CLIENT] and not _is_mmi(words):
        for service in core._services.values():
            for peer in list(service.idle)[-1:]:
                service.idle.move_to_end(peer, last=False)
    return words


# --- what it says wrongly -------------------------------------------------------------------------


def _bytes(frame: object) -> bytes:
    return frame if isinstance(frame, bytes) else bytes(memoryview(frame))  # type: ignore[arg-type]  # a zmq frame


def losing_empty_frames(_core: WrongCore, out: Out) -> list[Out]:
    body = [frame for frame in out.frames[4:] if _bytes(frame)]
    return changed(out, [*out.frames[:4], *body]) if out.frames[1] == mdp.W_REQUEST else [out]


def reading_bodies(_core: WrongCore, out: Out) -> list[Out]:
    texts = [_bytes(frame).decode(errors="replace").encode() for frame in out.frames[4:]]
    return changed(out, [*out.frames[:4], *texts]) if out.frames[1] == mdp.W_REQUEST else [out]


def misnaming_services(_core: WrongCore, out: Out) -> list[Out]:
    if out.frames[0] != mdp.CLIENT:
        return [out]
    return changed(out, [*out.frames[:2], b"a service", *out.frames[3:]])


def leaving_the_delimiter_out(_core: WrongCore, out: Out) -> list[Out]:
    if out.frames[1] != mdp.W_REQUEST or out.frames[0] != mdp.WORKER:
        return [out]
    return changed(out, [*out.frames[:3], *out.frames[4:]])


def silent(*words: bytes) -> Say:
    """These words are never said."""

    def say(_core: WrongCore, out: Out) -> list[Out]:
        return [] if list(out.frames[: len(words)]) == list(words) else [out]

    return say


def replying(found: bytes, instead: bytes) -> Say:
    """One answer in place of another."""

    def say(_core: WrongCore, out: Out) -> list[Out]:
        is_it = out.frames[0] == mdp.CLIENT and out.frames[-1] == found
        return changed(out, [*out.frames[:-1], instead]) if is_it else [out]

    return say


def misdirecting_partials(core: WrongCore, out: Out) -> list[Out]:
    is_partial = list(out.frames[:2]) == [mdp.CLIENT, mdp.C_PARTIAL]
    return [Out(core.clients[-1], out.frames)] if is_partial else [out]


def mmi_in_parts(_core: WrongCore, out: Out) -> list[Out]:
    if out.frames[0] == mdp.CLIENT and out.frames[2] == b"mmi.service":
        return changed(out, [mdp.CLIENT, mdp.C_PARTIAL, *out.frames[2:]])
    return [out]


def beating_needlessly(_core: WrongCore, out: Out) -> list[Out]:
    beat = Out(out.peer, [mdp.WORKER, mdp.W_HEARTBEAT])
    return [beat, out] if out.frames[1] == mdp.W_REQUEST else [out]


def greeting(core: WrongCore, peer: Peer, words: Words) -> Words | None:
    if words[1:2] == [mdp.W_READY]:
        core.tell(peer, mdp.WORKER, mdp.W_READY)
    return words


# --- what it does by itself -----------------------------------------------------------------------


def believing_in_the_dead(core: WrongCore) -> None:
    for worker in core._workers.values():
        worker.heard_at = core._now + core.heartbeat_s


def beating_to_clients(core: WrongCore) -> None:
    for client in dict.fromkeys(core.clients):
        core.tell(client, mdp.WORKER, mdp.W_HEARTBEAT)


FAULTS: dict[str, Fault] = {
    "it loses empty frames": Fault(("A2",), say=losing_empty_frames),
    "it misnames services": Fault(("A3", "F4"), say=misnaming_services),
    "its requests have no delimiter": Fault(("A1", "A4"), say=leaving_the_delimiter_out),
    "it takes answers without delimiter": Fault(("A5",), hear=lenient_with_delimiters),
    "it dies of noise": Fault(("A6", "H3"), hear=dying_of_noise),
    "it keeps invalid workers": Fault(("A7", "A10"), hear=lenient_with_workers),
    "it passes requests without body on": Fault(("A8",), hear=lenient_with_bodies),
    "it takes any name": Fault(("A9",), hear=lenient_with_names),
    "it takes a client's answer for a request": Fault(("A11",), hear=taking_answers_for_requests),
    "it overlooks requests of workers": Fault(
        ("A12", "C6f"), hear=ignoring([mdp.WORKER, mdp.W_REQUEST])
    ),
    "it takes an empty first frame": Fault(("B1",), hear=lenient_with_first_frames),
    "it passes no partials on": Fault(("B3", "E6"), say=silent(mdp.CLIENT, mdp.C_PARTIAL)),
    "it passes late answers on": Fault(("B4",), hear=passing_on_late_answers),
    "it passes answers of the dead on": Fault(
        ("E7",), hear=passing_on_late_answers, heartbeat_s=0.3
    ),
    "it hands out a client's last request first": Fault(("B2",), hear=newest_first),
    "it serves who came first": Fault(("B8",), hear=first_come_first_served),
    "it asks the worker that was idle last": Fault(("E4",), hear=last_idle_first),
    "it lets no request wait": Fault(("B6",), hear=refusing_to_wait),
    "it dies with a client": Fault(("B9",)),
    "it has one worker for each service": Fault(("C1",), hear=one_worker_for_each_service),
    "it answers ready": Fault(("C2",), hear=greeting),
    "it overlooks a second ready": Fault(("C3", "C6e"), hear=ignoring_a_second_ready),
    "it answers disconnect": Fault(("C4",), hear=answering_farewells),
    "it overlooks disconnect": Fault(("C5",), hear=ignoring([mdp.WORKER, mdp.W_DISCONNECT])),
    "it sends nobody away": Fault(
        ("B4", "C3", "C10", "A12"), say=silent(mdp.WORKER, mdp.W_DISCONNECT)
    ),
    "it sends nobody away who is no worker": Fault(
        ("C6a", "C6b", "C6c"), say=silent(mdp.WORKER, mdp.W_DISCONNECT)
    ),
    "it sends no busy worker away": Fault(
        ("C6d", "C6e", "C6f"), say=silent(mdp.WORKER, mdp.W_DISCONNECT)
    ),
    "it passes forged answers on": Fault(("C6d",), hear=passing_on_forged_answers),
    "it answers noise": Fault(("C7",), hear=answering_noise),
    "it never forgives": Fault(("C8",), hear=unforgiving),
    "it overlooks reserved names": Fault(
        ("C10",), hear=ignoring([mdp.WORKER, mdp.W_READY, b"mmi.service"])
    ),
    "it keeps workers that ask": Fault(("C12",), hear=keeping_workers_that_ask),
    "it sends no heartbeats": Fault(
        ("D1", "D8"), say=silent(mdp.WORKER, mdp.W_HEARTBEAT), heartbeat_s=0.3
    ),
    "it believes in the dead": Fault(
        ("D2", "D6"), while_idle=believing_in_the_dead, heartbeat_s=0.3
    ),
    "it takes no partial for a sign of life": Fault(
        ("D3",), hear=passing_partials_unseen, heartbeat_s=0.3
    ),
    "it sends needless heartbeats": Fault(("D4",), say=beating_needlessly, heartbeat_s=0.3),
    "it takes a heartbeat for ready": Fault(("D5",), hear=registering_by_heartbeat),
    "it sends heartbeats to clients": Fault(
        ("D10",), while_idle=beating_to_clients, heartbeat_s=0.3
    ),
    "it hands out a second request": Fault(("E1",), hear=two_requests_at_a_time),
    "it misdirects partials": Fault(("E6",), say=misdirecting_partials),
    "it reads bodies": Fault(("E8",), say=reading_bodies),
    "it lets mmi requests wait": Fault(("F1", "F3"), hear=queueing_mmi),
    "it knows services that nobody offers": Fault(("F2",), say=replying(b"404", b"200")),
    "it does not know a busy service": Fault(("F2",), say=replying(b"200", b"404")),
    "it has other codes": Fault(("F3",), say=replying(b"501", b"400")),
    "it answers mmi in parts": Fault(("F4",), say=mmi_in_parts),
    "it hijacks names": Fault(("F5",), hear=hijacking_names),
}

"""A small process that keeps one tree after another: it forks a leader, and waits until nothing of
its tree is left.

    owner ◀── channel ──▶ keeper ── fork ──▶ leader ── … whatever it starts, wherever that goes

The keeper is a child subreaper, so what leaves the leader's group or session comes to it, and to
nobody else: the trees of two keepers are never mixed up. It runs none of the leader's code. On the
channel, a SOCK_SEQPACKET socket, it hears

    {"fresh", "grace_s"} and a descriptor    fork a leader, which gets the descriptor
    {"grace_s"}                              end the tree; how long to wait from SIGTERM to SIGKILL

and says when nothing of the tree is left how the leader ended. End-of-file means that the owner is
gone: then the tree ends, and the keeper with it.

It is forked by a process with a single thread, without an event loop, that handles no signal which
a leader is to be ended by.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, NoReturn

from intendant.process.descendants import descendants, kill_descendants, signal_each
from intendant.process.identity import send_group_signal
from intendant.process.signalfd import open_signalfd
from intendant.process.subreaper import become_subreaper

ORPHANED_GRACE_S = 3.0
"""From SIGTERM to SIGKILL for a tree whose owner is gone."""
RETRY_FIRST_S = 0.2
RETRY_MAX_S = 60.0
"""The pauses after which a tree that outlives SIGKILL is killed again."""
_PACKET_BYTES = 4096
_IGNORED = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_BLOCKED = _IGNORED | {signal.SIGCHLD}

Lead = Callable[[str | None, int], int]
"""What a leader does: `fresh` of the request, its descriptor; its exit status."""


def be_keeper(channel: socket.socket, lead: Lead) -> None:
    """Keep a tree for each request; return when the owner is gone and nothing is left."""
    # It goes with its tree, or with the channel, by nothing else. Each leader inherits the mask, so
    # that a signal that comes before it is itself waits and is not lost (signal(7)).
    signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED)
    become_subreaper()
    children = open_signalfd([signal.SIGCHLD])
    has_owner = True
    while has_owner and (request := _request(channel)) is not None:
        fields, orders = request
        leader = os.fork()
        if leader == 0:
            _be_leader(lead, fields["fresh"], orders, close=(children, channel.detach()))
        os.close(orders)
        _lead_group(leader)
        has_owner = Keeper(channel, leader, children, leftover_grace_s=fields["grace_s"]).run()


def _request(channel: socket.socket) -> tuple[dict[str, Any], int] | None:
    """The next one; None at end-of-file. A wish that came too late is nothing."""
    while True:
        try:
            data, descriptors, _, _ = socket.recv_fds(channel, _PACKET_BYTES, 1)
        except ConnectionResetError:  # the owner has gone without having read the last end
            return None
        if not data:
            return None
        if descriptors:
            return json.loads(data), descriptors[0]


class Keeper:
    """The keeping of one tree: a channel, a descriptor that tells of children, one deadline."""

    def __init__(
        self, channel: socket.socket, leader: int, children: int, *, leftover_grace_s: float
    ) -> None:
        self._channel = channel
        self._leader = leader
        self._children = children
        self._leftover_grace_s = leftover_grace_s
        self._status: int | None = None
        self._user_s = self._system_s = 0.0
        self._max_rss_kib = 0
        self._has_owner = True
        self._is_leader_asked = self._are_others_asked = False
        self._kill_at: float | None = None
        self._retry_s = RETRY_FIRST_S
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)
        self._poll.register(children, select.POLLIN)

    def run(self) -> bool:
        """Until nothing is left; then the leader's status and what the tree has used are said.

        Whether there is an owner that has heard of it.
        """
        while self._has_children():
            if self._status is not None and not self._are_others_asked:
                self._ask_others()
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._kill()
            self._wait()
        return self._has_owner and self._say()

    def _wait(self) -> None:
        """Until a child ends, the owner says something, or the deadline comes."""
        patience_ms = None
        if self._kill_at is not None:
            patience_ms = max(int((self._kill_at - time.monotonic()) * 1000) + 1, 0)
        ready = {descriptor for descriptor, _ in self._poll.poll(patience_ms)}
        if self._children in ready:
            os.read(self._children, _PACKET_BYTES)
        if self._channel.fileno() in ready:
            self._hear(self._channel.recv(_PACKET_BYTES))

    def _hear(self, packet: bytes) -> None:
        if packet:
            self._ask_leader(json.loads(packet)["grace_s"])
            return
        self._has_owner = False
        self._poll.unregister(self._channel)
        self._ask_leader(ORPHANED_GRACE_S)

    def _ask_leader(self, grace_s: float) -> None:
        """SIGTERM to its group, once; SIGKILL when the grace is over: the shortest one counts."""
        self._kill_within(grace_s)
        if grace_s > 0 and self._status is None and not self._is_leader_asked:
            self._is_leader_asked = True
            send_group_signal(self._leader, signal.SIGTERM)
            send_group_signal(self._leader, signal.SIGCONT)  # so that a stopped one can act on it

    def _ask_others(self) -> None:
        """SIGTERM to what the leader has left behind."""
        self._are_others_asked = True
        self._kill_within(self._leftover_grace_s)
        left = descendants(os.getpid())
        signal_each(left, signal.SIGTERM)
        signal_each(left, signal.SIGCONT)

    def _kill_within(self, grace_s: float) -> None:
        deadline = time.monotonic() + grace_s
        self._kill_at = deadline if self._kill_at is None else min(self._kill_at, deadline)

    def _kill(self) -> None:
        """One pass; each child that ends brings the next look, and a pause that grows another."""
        kill_descendants(os.getpid())
        self._kill_at = time.monotonic() + self._retry_s
        self._retry_s = min(2 * self._retry_s, RETRY_MAX_S)

    def _has_children(self) -> bool:
        """Whether any child is left; those that have ended are reaped first."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)  # every child is the tree's
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._leader:
                self._status = os.waitstatus_to_exitcode(status)
            self._user_s += used.ru_utime
            self._system_s += used.ru_stime
            self._max_rss_kib = max(self._max_rss_kib, used.ru_maxrss)

    def _say(self) -> bool:
        end: dict[str, Any] = {
            "status": self._status,
            "user_s": self._user_s,
            "system_s": self._system_s,
            "max_rss_kib": self._max_rss_kib,
        }
        try:
            self._channel.send(json.dumps(end).encode())
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True


def _lead_group(leader: int) -> None:
    """Make it the leader of a group; the child does the same, whoever comes first."""
    try:
        os.setpgid(leader, leader)
    except (ProcessLookupError, PermissionError):
        return


def _be_leader(lead: Lead, fresh: str | None, orders: int, *, close: tuple[int, ...]) -> NoReturn:
    status = 70
    try:
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED)
        for descriptor in close:
            os.close(descriptor)
        status = lead(fresh, orders)
    finally:
        os._exit(status)

"""A small process that keeps one tree: it forks the leader, and goes when nothing of it is left.

    owner ◀── channel ──▶ keeper ── fork ──▶ leader ── … whatever it starts, wherever that goes

The keeper is a child subreaper, so what leaves the leader's group or session comes to it, and to
nobody else: the trees of two keepers are never mixed up. It runs none of the leader's code. On the
channel, a SOCK_SEQPACKET socket, it hears how long to wait from SIGTERM to SIGKILL, as often as the
owner likes, and says in the end how the leader ended. End-of-file means that the owner is gone.

It is forked by a process with a single thread, without an event loop.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from intendant.process.descendants import descendants, kill_descendants, signal_each
from intendant.process.identity import exit_code, send_group_signal
from intendant.process.subreaper import become_subreaper

ORPHANED_GRACE_S = 3.0
"""From SIGTERM to SIGKILL for a tree whose owner is gone."""
RETRY_FIRST_S = 0.2
RETRY_MAX_S = 60.0
"""The pauses after which a tree that outlives SIGKILL is killed again."""
_PACKET_BYTES = 4096
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def be_keeper(
    channel: socket.socket,
    lead: Callable[[], int],
    *,
    leftover_grace_s: float,
    leaders_own: Sequence[int] = (),
) -> None:
    """Keep a tree whose leader does `lead()`; return when nothing of it is left.

    `leftover_grace_s` is what a leader leaves behind is given from SIGTERM to SIGKILL;
    `leaders_own` are descriptors that only the leader keeps.
    """
    for signum in _IGNORED:  # it goes with its tree, or with the channel, by nothing else
        signal.signal(signum, signal.SIG_IGN)
    become_subreaper()
    wake_reader, wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # only so that the wake-up pipe hears of it
    leader = os.fork()
    if leader == 0:
        _be_leader(lead, close=(wake_reader, wake_writer), channel=channel)
    for descriptor in leaders_own:
        os.close(descriptor)
    _lead_group(leader)
    Keeper(channel, leader, wake_reader, leftover_grace_s=leftover_grace_s).run()


class Keeper:
    """The keeper's loop: a channel, a wake-up pipe, one deadline."""

    def __init__(
        self, channel: socket.socket, leader: int, wake: int, *, leftover_grace_s: float
    ) -> None:
        self._channel = channel
        self._leader = leader
        self._wake = wake
        self._leftover_grace_s = leftover_grace_s
        self._status: int | None = None
        self._has_owner = True
        self._is_leader_asked = self._are_others_asked = False
        self._kill_at: float | None = None
        self._retry_s = RETRY_FIRST_S
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)
        self._poll.register(wake, select.POLLIN)

    def run(self) -> None:
        """Until nothing is left; then the leader's status and what the tree has used are said."""
        while self._has_children():
            if self._status is not None and not self._are_others_asked:
                self._ask_others()
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._kill()
            self._wait()
        if self._has_owner:
            self._say()

    def _wait(self) -> None:
        """Until a child ends, the owner says something, or the deadline comes."""
        patience_ms = None
        if self._kill_at is not None:
            patience_ms = max(int((self._kill_at - time.monotonic()) * 1000) + 1, 0)
        ready = {descriptor for descriptor, _ in self._poll.poll(patience_ms)}
        if self._wake in ready:
            os.read(self._wake, _PACKET_BYTES)
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
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)
            except ChildProcessError:
                return False
            if found is None:
                return True
            if found.si_pid == self._leader:
                self._status = exit_code(found)

    def _say(self) -> None:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        end: dict[str, Any] = {
            "status": self._status,
            "user_s": used.ru_utime,
            "system_s": used.ru_stime,
            "max_rss_kib": used.ru_maxrss,
        }
        try:
            self._channel.send(json.dumps(end).encode())
        except (BrokenPipeError, ConnectionResetError):
            return


def _lead_group(leader: int) -> None:
    """Make it the leader of a group; the child does the same, whoever comes first."""
    try:
        os.setpgid(leader, leader)
    except (ProcessLookupError, PermissionError):
        return


def _be_leader(
    lead: Callable[[], int], *, close: tuple[int, int], channel: socket.socket
) -> NoReturn:
    status = 70
    try:
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        for signum in (*_IGNORED, signal.SIGCHLD):
            signal.signal(signum, signal.SIG_DFL)
        for descriptor in close:
            os.close(descriptor)
        channel.close()
        status = lead()
    finally:
        os._exit(status)

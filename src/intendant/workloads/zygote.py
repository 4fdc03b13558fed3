"""The process that forks steps or trials: a single thread, the user's modules imported once.

    the run's process ── request ──▶ zygote ── fork ──▶ keeper ── fork ──▶ leader, after leader

A request is a packet on a SOCK_SEQPACKET socket with a descriptor (SCM_RIGHTS): the channel of a
keeper. It (`process.keeper`) is asked for leaders over that, and makes sure that the tree of each,
one step or trial, ends as a whole. `workloads.nursery` is the other side.

It is forked by the run's process before that has threads or an event loop. The modules are
imported by a zygote of their own below it: if they start threads, which no fork would carry over,
or end the process, the first one goes on without them, and each leader imports for itself.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeAlias

from intendant.process.keeper import be_keeper
from intendant.process.sharing import settle
from intendant.process.signalfd import open_signalfd
from intendant.process.title import set_title

Lead: TypeAlias = Callable[[socket.socket], int]
"""What a leader does with its channel; its exit status."""

_REQUEST_BYTES = 4096
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Preload:
    """What leaders need that can be had once for all: modules, and whatever else can be loaded."""

    modules: Sequence[str] = ()
    others: Sequence[Callable[[], object]] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to load."""
        return not (self.modules or self.others)

    def load(self) -> None:
        """Load what can be loaded; whoever needs it says what is wrong with the rest."""
        sys.path.insert(0, str(Path.cwd()))
        for module in self.modules:
            with suppress(Exception):
                importlib.import_module(module)
        for load in self.others:
            with suppress(Exception):
                load()


def fork_zygote(title: str, lead: Lead, preload: Preload) -> tuple[int, socket.socket]:
    """Its pid, and the socket for requests. Only in a process with a single thread."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    gc.freeze()  # a collection, in either of the two, writes to every object that it looks at
    pid = os.fork()
    if pid == 0:
        ours.close()
        _be_zygote(theirs, title, lead, preload)
    theirs.close()
    return pid, ours


def _be_zygote(control: socket.socket, title: str, lead: Lead, preload: Preload) -> NoReturn:
    status = 70
    try:
        _close_all_but(control.fileno())
        set_title(title)
        for signum in _IGNORED:  # it ends with its socket, by nothing else
            signal.signal(signum, signal.SIG_IGN)
        if not preload.is_empty:
            _let_preloaded_serve(control, lead, preload)
        _serve(control, lead)  # what is left to serve: nothing, if that one came to the end
        status = 0
    finally:
        os._exit(status)


def _close_all_but(descriptor: int) -> None:
    """Nothing of the run's own is in a leader's hands but its standard streams."""
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))


def _let_preloaded_serve(control: socket.socket, lead: Lead, preload: Preload) -> None:
    """Let a child load what there is to load, and serve, for as long as it lives."""
    pid = os.fork()
    if pid == 0:
        try:
            preload.load()
            if _is_single_threaded():
                _serve(control, lead)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def _is_single_threaded() -> bool:
    return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208  names alone


def _serve(control: socket.socket, lead: Lead) -> None:
    children = open_signalfd([signal.SIGCHLD, *_IGNORED])
    for signum in (signal.SIGCHLD, *_IGNORED):
        signal.signal(signum, signal.SIG_DFL)  # that of leaders: here and in keepers it is blocked
    settle()
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(children, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if children in ready:
            os.read(children, _REQUEST_BYTES)
            _reap_keepers()
        if control.fileno() in ready:
            data, descriptors, _, _ = socket.recv_fds(control, _REQUEST_BYTES, 1)
            if not data:
                return
            _fork_keeper(lead, descriptors[0], close=(children, control))
            os.close(descriptors[0])


def _reap_keepers() -> None:
    """Every child of the zygote is a keeper, so here any may be reaped."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _fork_keeper(lead: Lead, channel: int, *, close: tuple[int, socket.socket]) -> None:
    """Fork it; where that fails the channel closes, which says so."""
    try:
        if os.fork() != 0:
            return
    except OSError:
        return
    try:
        children, control = close
        os.close(children)
        control.close()
        be_keeper(socket.socket(fileno=channel), lambda fresh, orders: _lead(lead, fresh, orders))
    finally:
        os._exit(0)


def _lead(lead: Lead, fresh: str | None, orders: int) -> int:
    """Be a leader here, or (`fresh` names a module) in a new interpreter."""
    if fresh is not None:
        os.set_inheritable(orders, True)
        argv = [sys.executable, "-P", "-m", fresh, str(orders)]
        os.execv(argv[0], argv)  # noqa: S606  no shell is the point
    return lead(socket.socket(fileno=orders))

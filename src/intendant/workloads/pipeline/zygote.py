"""The process that forks steps: a single thread, no event loop, the user's modules imported once.

    the pipeline's process ── request ──▶ zygote ── fork ──▶ keeper ── fork ──▶ step

A request is a packet on a SOCK_SEQPACKET socket with two descriptors (SCM_RIGHTS): the keeper's
channel and the step's. The keeper (`process.keeper`) makes sure that a step's tree ends as a whole.

It is forked by the pipeline's process before that has threads or an event loop. The modules are
imported by a zygote of their own below it: if they start threads, which no fork would carry over,
or end the process, the first one goes on without them, and each step imports for itself.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from intendant.process.keeper import be_keeper
from intendant.workloads.pipeline.step_process import serve as serve_steps

_REQUEST_BYTES = 4096
_UNFIT = 3
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def fork_zygote(label: str, *, modules: Sequence[str]) -> tuple[int, socket.socket]:
    """Its pid, and the socket for requests. Only in a process with a single thread."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        _be_zygote(theirs, label, modules)
    theirs.close()
    return pid, ours


def _be_zygote(control: socket.socket, label: str, modules: Sequence[str]) -> NoReturn:
    status = 70
    try:
        import setproctitle

        _close_all_but(control.fileno())
        setproctitle.setproctitle(f"intendant: steps {label}")
        for signum in _IGNORED:  # it ends with its socket, by nothing else
            signal.signal(signum, signal.SIG_IGN)
        if not (modules and _with_modules(control, modules)):
            _serve(control)
        status = 0
    finally:
        os._exit(status)


def _close_all_but(descriptor: int) -> None:
    """Nothing of the pipeline's own is in a step's hands but its standard streams."""
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))


def _with_modules(control: socket.socket, modules: Sequence[str]) -> bool:
    """Let a child import the modules and serve; whether it did so to the end."""
    pid = os.fork()
    if pid == 0:
        status = _UNFIT
        try:
            _import(modules)
            if _is_single_threaded():
                _serve(control)
                status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _import(modules: Iterable[str]) -> None:
    """Import what can be imported; the step that needs it says what is wrong with the rest."""
    sys.path.insert(0, str(Path.cwd()))
    for module in modules:
        with suppress(Exception):
            importlib.import_module(module)


def _is_single_threaded() -> bool:
    return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208  names alone


def _serve(control: socket.socket) -> None:
    gc.collect()
    gc.freeze()  # the objects made so far stay on pages that the children share
    wake_reader, wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # only so that the wake-up pipe hears of it
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake_reader, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if wake_reader in ready:
            os.read(wake_reader, _REQUEST_BYTES)
            _reap_keepers()
        if control.fileno() in ready:
            data, descriptors, _, _ = socket.recv_fds(control, _REQUEST_BYTES, 2)
            if not data:
                return
            _fork_keeper(json.loads(data), descriptors, (wake_reader, wake_writer), control)
            for descriptor in descriptors:
                os.close(descriptor)


def _reap_keepers() -> None:
    """Every child of the zygote is a keeper, so here any may be reaped."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _fork_keeper(
    request: dict[str, float], descriptors: list[int], wake: tuple[int, int], control: socket.socket
) -> None:
    """Fork it; where that fails the descriptors close, which says so."""
    try:
        if os.fork() != 0:
            return
    except OSError:
        return
    try:
        signal.set_wakeup_fd(-1)
        for descriptor in wake:
            os.close(descriptor)
        control.close()
        channel, orders = descriptors
        be_keeper(
            socket.socket(fileno=channel),
            lambda: serve_steps(socket.socket(fileno=orders)),
            leftover_grace_s=request["grace_s"],
            leaders_own=[orders],
        )
    finally:
        os._exit(0)

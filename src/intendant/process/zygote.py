"""A process that has imported everything and forks governors on request (DESIGN 2).

It is single-threaded and never makes an event loop or a zmq Context, so forking it is sound. A
request is one packet on a SOCK_SEQPACKET socket: JSON, and with it (SCM_RIGHTS) one end of a
report socket of its own. The zygote forks a middle process, and goes on at once.

    zygote ── fork ──▶ middle ── fork ──▶ governor

The governor makes its session, reports its pid on the report socket, and goes its way. The middle
waits until the executor has answered (it holds a pidfd by then), and exits; the governor's parent
is the executor from then on, which is a subreaper. Where something fails the report says so, or
ends: a report socket that closes without a pid means that nobody lives.

At end-of-file of the request socket the executor is gone, and so is the zygote.
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
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from intendant.process.crashpoints import crash_point, forget_crash_points

REQUEST_BYTES = 128 * 1024
"""The longest request; the kernel's own bound for one packet is a little above."""

Entry = Callable[[dict[str, Any]], int]


def main(control: socket.socket, *, entry: str, preload: list[str]) -> None:
    """Serve requests until the executor is gone."""
    import setproctitle

    setproctitle.setproctitle("intendant: zygote")
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # it ends with its life-line, by nothing else
    run = load_entry(entry)
    for module in preload:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # the objects made so far stay on pages that the children share
    control.send(b"ready")
    _serve(control, run)


def load_entry(entry: str) -> Entry:
    """The function that `module:function` names."""
    module, _, function = entry.partition(":")
    found: Entry = getattr(importlib.import_module(module), function)
    return found


def _serve(control: socket.socket, run: Entry) -> None:
    wake_reader, wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # only so that the wake-up pipe hears of it
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake_reader, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if wake_reader in ready:
            os.read(wake_reader, 4096)
            _reap_middles()
        if control.fileno() in ready:
            data, descriptors, _, _ = socket.recv_fds(control, REQUEST_BYTES, 1)
            if not data:
                return
            crash_point("zygote.asked")
            _fork_middle(data, descriptors[0], run, close=(wake_reader, wake_writer, control))
            crash_point("zygote.forked")
            os.close(descriptors[0])


def _reap_middles() -> None:
    """Every child of the zygote is a middle process, so here any may be reaped."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return


def _fork_middle(
    data: bytes, report_descriptor: int, run: Entry, *, close: tuple[int, int, socket.socket]
) -> None:
    try:
        if os.fork() != 0:
            return
    except OSError as error:
        os.write(report_descriptor, json.dumps({"error": f"fork: {error.strerror}"}).encode())
        return
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        reader, writer, control = close
        os.close(reader)
        os.close(writer)
        control.close()
        _be_middle(data, socket.socket(fileno=report_descriptor), run)
    finally:
        os._exit(70)  # reached only through an exception, which must not unwind into the loop


def _be_middle(data: bytes, report: socket.socket, run: Entry) -> NoReturn:
    try:
        pid = os.fork()
    except OSError as error:
        report.send(json.dumps({"error": f"fork: {error.strerror}"}).encode())
        os._exit(70)
    if pid == 0:
        _be_governor(json.loads(data), report, run)
    crash_point("middle.forked")
    # Wait for the executor's answer or for the governor's death, whichever comes first; in both
    # cases the report socket closes with this process.
    poll = select.poll()
    poll.register(report, select.POLLIN)
    poll.register(os.pidfd_open(pid), select.POLLIN)
    poll.poll()
    os._exit(0)


def _be_governor(request: dict[str, Any], report: socket.socket, run: Entry) -> NoReturn:
    status = 70
    try:
        os.setsid()
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, signal.SIG_DFL)
        _enter_folder(Path(request["folder"]))
        os.environ.clear()
        os.environ.update(request["environment"])
        forget_crash_points()
        crash_point("governor.session_made")
        report.send(json.dumps({"pid": os.getpid()}).encode())
        report.close()
        status = run(request["order"])
    except BaseException:  # noqa: BLE001 the top of a process: said to its log, ended below
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _enter_folder(folder: Path) -> None:
    """Work in `folder`; read nothing; write what is written to the log there."""
    os.chdir(folder)
    silence = os.open(os.devnull, os.O_RDONLY)
    log = os.open("governor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    os.dup2(silence, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(silence)
    os.close(log)


if __name__ == "__main__":
    _descriptor, _entry, *_preload = sys.argv[1:]
    main(socket.socket(fileno=int(_descriptor)), entry=_entry, preload=_preload)

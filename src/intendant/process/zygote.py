"""A process that has imported everything and forks governors on request.

It is single-threaded and has no event loop or zmq Context, so forking it is sound. A
request is one packet on a SOCK_SEQPACKET socket: JSON, and with it (SCM_RIGHTS) one end of a
report socket of its own. The zygote forks a governor that is the executor's child (`birth`,
`double_fork`), and goes on at once.

At end-of-file of the request socket the executor is gone, and so is the zygote.
"""

from __future__ import annotations

import errno
import importlib
import os
import select
import signal
import socket
import sys
from contextlib import suppress

from intendant.process import crashpoints, diskpoints
from intendant.process.birth import REQUEST_BYTES, Entry, be_governor, failure, load_entry
from intendant.process.clone import fork_sibling
from intendant.process.crashpoints import crash_point
from intendant.process.double_fork import be_middle
from intendant.process.leaving import leave
from intendant.process.sharing import settle, take_huge_pages


def main(control: socket.socket, *, entry: str, preload: list[str]) -> None:
    """Serve requests until the executor is gone."""
    import setproctitle

    setproctitle.setproctitle("intendant: zygote")
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # it ends with its life-line, by nothing else
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever ignores it has no children to wait for
    for each in preload:
        _load(each)
    run = load_entry(entry)
    _forget_environment()
    take_huge_pages()
    settle()
    with suppress(BrokenPipeError, ConnectionResetError):  # the executor is gone already
        control.send(b"ready")
        _serve(control, run)


def _load(each: str) -> None:
    """Import the module, or call the function that `module:function` names."""
    module, _, function = each.partition(":")
    loaded = importlib.import_module(module)
    if function:
        getattr(loaded, function)()


def _forget_environment() -> None:
    """Each governor brings its own, and would have to take every variable of this one away."""
    for name in os.environ.keys() - {crashpoints.VARIABLE, diskpoints.VARIABLE}:
        del os.environ[name]


def _serve(control: socket.socket, run: Entry) -> None:
    middles: dict[int, int] = {}  # pidfd to pid; no signal handler, which governors would undo
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        for pidfd in ready & middles.keys():
            poll.unregister(pidfd)
            os.waitpid(middles.pop(pidfd), 0)
            os.close(pidfd)
        if control.fileno() in ready:
            data, descriptors, _, _ = socket.recv_fds(control, REQUEST_BYTES, 1)
            if not data:
                return
            crash_point("zygote.asked")
            middle = _fork(data, descriptors[0], run, close=(control, middles))
            crash_point("zygote.forked")
            os.close(descriptors[0])
            if middle is not None:
                pidfd = os.pidfd_open(middle)
                middles[pidfd] = middle
                poll.register(pidfd, select.POLLIN)


def _fork(
    data: bytes, report_descriptor: int, run: Entry, *, close: tuple[socket.socket, dict[int, int]]
) -> int | None:
    """Fork a governor; the pid of the middle process, where there had to be one."""
    try:
        pid, is_sibling = _fork_sibling()
    except OSError as error:
        os.write(report_descriptor, failure(f"fork: {error.strerror}"))
        return None
    if pid != 0:
        return None if is_sibling else pid
    try:
        control, middles = close
        control.close()
        for pidfd in middles:
            os.close(pidfd)
        report = socket.socket(fileno=report_descriptor)
        if is_sibling:
            be_governor(data, report, run)
        be_middle(data, report, run)
    finally:
        os._exit(70)  # reached only through an exception, which must not unwind into the loop


def _fork_sibling() -> tuple[int, bool]:
    """Fork; the pid (0 in the child), and whether the child is our parent's rather than ours."""
    try:
        return fork_sibling(), True
    except OSError as error:
        if error.errno == errno.EAGAIN:  # no more processes; else the kernel does not know how
            raise
        return os.fork(), False


if __name__ == "__main__":
    _descriptor, _entry, *_preload = sys.argv[1:]
    main(socket.socket(fileno=int(_descriptor)), entry=_entry, preload=_preload)
    leave(0)

"""What a pipeline sees of its leaders and keepers, which the tests play: ends that coincide."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from intendant.protocol.step_states import StepOutcome
from intendant.workloads.nursery import Nursery, Tree
from intendant.workloads.pipeline.processes import Attempt, AttemptEnd, InlineRunner, Stop
from intendant.workloads.pipeline.step_process import frame

END = {"status": 0, "user_s": 0, "system_s": 0, "max_rss_kib": 1}


def test_what_a_keeper_said_is_read_though_it_left_a_wish_unread() -> None:
    troubles: list[dict[str, Any]] = []

    async def end() -> int | None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, trouble: troubles.append(trouble))
        ours, keeper = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        tree = Tree(ours)
        tree.end(3.0)
        keeper.send(json.dumps(END).encode())
        keeper.close()
        return (await asyncio.wait_for(tree.ended, 60)).status

    assert (asyncio.run(end()), troubles) == (0, [])


def test_a_wish_that_comes_as_an_inline_step_is_over_ends_its_process(tmp_path: Path) -> None:
    async def run(turns: int) -> AttemptEnd:
        """The wish comes so many turns of the loop after the word that the step is over."""
        loop = asyncio.get_running_loop()
        zygote, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        nursery = Nursery(zygote)
        runner = InlineRunner(nursery)
        stop = Stop()
        attempt = Attempt("a", {"folder": str(tmp_path)}, None, 0.5)
        running = asyncio.ensure_future(runner.run(attempt, stop))
        await asyncio.sleep(0)
        keeper, leader = received(asked)
        with zygote, asked, keeper, leader:
            await loop.sock_recv(leader, 4096)
            leader.send(frame({"outcome": "succeeded"}))
            for _ in range(turns):
                await asyncio.sleep(0)
            is_over = running.done()
            stop.wish("aborted")
            if not is_over:
                assert await asyncio.wait_for(loop.sock_recv(keeper, 4096), 60)
            keeper.send(json.dumps(END).encode())
            end = await asyncio.wait_for(running, 60)
        await runner.close()
        await nursery.close()
        return end

    ends = [asyncio.run(run(turns)).outcome for turns in range(8)]
    assert StepOutcome.ABORTED in ends


KEEPER = """
import socket, sys
from intendant.process.keeper import be_keeper
be_keeper(
    socket.socket(fileno=int(sys.argv[1])),
    lambda fresh, orders: len(socket.socket(fileno=orders).recv(1)),
)
"""


def test_a_leader_that_is_told_to_end_before_it_is_itself_does_not_miss_it() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(60)
    command = [sys.executable, "-c", KEEPER, str(theirs.fileno())]
    with subprocess.Popen(command, pass_fds=[theirs.fileno()]) as keeper, ours:
        theirs.close()
        for _ in range(10):
            orders, orders_end = socket.socketpair()
            with orders, orders_end:
                request = json.dumps({"fresh": None, "grace_s": 3.0}).encode()
                socket.send_fds(ours, [request], [orders_end.fileno()])
                ours.send(json.dumps({"grace_s": 20.0}).encode())
                assert json.loads(ours.recv(4096))["status"] == -signal.SIGTERM
        ours.close()
    assert keeper.returncode == 0


def test_a_keeper_takes_one_leader_after_another_and_one_that_was_killed_none() -> None:
    async def keepers() -> list[bool]:
        """Which leaders the zygote is asked for a keeper for."""
        zygote, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        asked.setblocking(False)
        nursery = Nursery(zygote)
        tree, orders = nursery.bear(fresh="module")
        keeper, leader = received(asked)
        news = []
        with zygote, asked, orders, leader:
            for is_killed in (False, True):
                keeper.send(json.dumps(END).encode())
                assert (await asyncio.wait_for(tree.ended, 60)).status == 0
                if is_killed:
                    keeper.close()
                tree, again = nursery.bear(fresh="module")
                again.close()
                news.append(_is_asked(asked))
                if not is_killed:
                    _passed(keeper).close()
        await nursery.close()
        return news

    assert asyncio.run(keepers()) == [False, True]


def _is_asked(asked: socket.socket) -> bool:
    try:
        _passed(asked).close()
    except BlockingIOError:
        return False
    return True


def received(asked: socket.socket) -> tuple[socket.socket, socket.socket]:
    """The channels of a keeper that the zygote is asked for, and of its first leader."""
    keeper = _passed(asked)
    leader = _passed(keeper)
    keeper.setblocking(False)
    leader.setblocking(False)
    return keeper, leader


def _passed(channel: socket.socket) -> socket.socket:
    _, descriptors, _, _ = socket.recv_fds(channel, 4096, 1)
    return socket.socket(fileno=descriptors[0])

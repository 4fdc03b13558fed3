"""A worker against a broker in another thread, as quick as one in another process, or by hand."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from threading import Thread

import zmq

from intendant.broker import sockets
from intendant.broker.worker import Request, Worker
from intendant.protocol import mdp
from tests.helpers.router import HEARTBEAT, Router, router

REQUESTS = 3000
INTERVAL_S = 1.0
TRIES = 20


class QuickBroker:
    """Answers every FINAL with the next request, at once; keeps what else it was sent."""

    def __init__(self, uri: str) -> None:
        self.finals = 0
        self.others: list[bytes] = []
        self._socket = sockets.process_context().socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.rcvtimeo = 10_000
        self._socket.bind(uri)

    def serve(self) -> None:
        """Hand out every request, the first at READY."""
        while self.finals < REQUESTS:
            worker, _, command, *_ = self._socket.recv_multipart()
            self.finals += command == mdp.W_FINAL
            if command not in (mdp.W_FINAL, mdp.W_HEARTBEAT):
                self.others.append(command)
            if command in (mdp.W_FINAL, mdp.W_READY):
                number = b"%d:me" % self.finals
                self._socket.send_multipart([worker, mdp.WORKER, mdp.W_REQUEST, number, b"", b"x"])
        self._socket.close()


async def test_a_request_may_come_while_the_answer_before_it_is_still_being_sent(
    tmp_path: Path,
) -> None:
    uri = f"ipc://{tmp_path}/b.sock"
    broker = QuickBroker(uri)
    thread = Thread(target=broker.serve)
    thread.start()

    async def echo(request: Request) -> list[bytes]:
        return request.body

    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(Worker(uri, b"echo", echo).run())
        await asyncio.to_thread(thread.join)
        working.cancel()

    assert broker.finals == REQUESTS
    assert broker.others == [mdp.W_READY]


async def test_a_heartbeat_is_answered_by_one_that_is_due_soon(tmp_path: Path) -> None:
    uri = f"ipc://{tmp_path}/b.sock"
    with router(uri) as broker:
        for _ in range(TRIES):
            answered_after_s = await _seconds_until_a_heartbeat_is_answered(uri, broker)
            if answered_after_s < INTERVAL_S:
                return  # its own would have been due later
    raise AssertionError(f"in {TRIES} tries none was answered before its own was due")


async def _seconds_until_a_heartbeat_is_answered(uri: str, broker: Router) -> float:
    async def echo(request: Request) -> list[bytes]:
        return request.body

    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(Worker(uri, b"echo", echo, heartbeat_s=INTERVAL_S).run())
        worker, ready = await broker.hear_word()
        while ready[1] == mdp.W_DISCONNECT:  # of a try before
            worker, ready = await broker.hear_word()
        await asyncio.sleep(INTERVAL_S / 2)
        broker.say(worker, *HEARTBEAT)
        while await broker.hear() != (worker, HEARTBEAT):
            pass
        working.cancel()
    return time.monotonic() - began

"""A real broker and real workers around a `FakeExecutor`; also a program that plays the daemon.

    python -m tests.helpers.fake_daemon ANYTHING serve --ready-fd N --life-line N --runtime-dir D …

As a program it does what `intendant serve --embedded` promises, with runs that end at once.
`FAKE_DAEMON` in the environment holds JSON: `log` (by stream), `exit_code`, `blocks`, `dies`,
`fails`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from intendant.broker.config import BrokerConfig, Endpoint
from intendant.broker.server import Server
from intendant.broker.worker import Request, Worker
from intendant.protocol.run_states import Outcome
from tests.helpers.fake_executor import Body, Ending, FakeExecutor


@asynccontextmanager
async def fake_daemon(executor: FakeExecutor, endpoint: str) -> AsyncIterator[None]:
    """The executor answers at `endpoint` while the block runs."""

    async def answer(request: Request) -> Body:
        return executor.answer(request.body)

    async def stream(request: Request) -> Body:
        for is_final, body in executor.stream(request.body):
            if is_final and executor.ending is None:
                await asyncio.Event().wait()  # no run ends: until the client goes
            if is_final:
                return body
            await request.partial(*body)
        raise AssertionError("a stream ends with its FINAL")

    config = BrokerConfig(endpoints=(Endpoint(endpoint),), open_registration=True)
    with Server(config) as server:
        server.listen()
        workers = [Worker(endpoint, b"executor", answer)]
        workers += [Worker(endpoint, b"stream", stream, cancel_when_lost=True) for _ in range(4)]
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(worker.run()) for worker in workers]
            try:
                yield  # requests wait in the broker for the workers
            finally:
                for task in running:
                    task.cancel()


async def serve(flags: argparse.Namespace) -> int:
    """Be ready, answer, and end as the daemon does."""
    told = json.loads(os.environ.get("FAKE_DAEMON", "{}"))
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def end(status: int) -> None:
        if not ended.done():
            ended.set_result(status)

    code = told.get("exit_code", 0)
    ending = Ending(Outcome.FAILED if code else Outcome.SUCCEEDED, code)
    executor = FakeExecutor(
        ending=None if told.get("blocks") else ending,
        log={stream: text.encode() for stream, text in told.get("log", {}).items()},
        on_shutdown=lambda: end(0),
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, 128 + number)
    loop.add_reader(flags.life_line, end, 1)
    async with fake_daemon(executor, f"ipc://{flags.runtime_dir}/client.sock"):
        os.write(flags.ready_fd, b'{"ready": true}\n')
        if told.get("dies"):
            os.kill(os.getpid(), signal.SIGKILL)
        status = await ended
        await asyncio.sleep(0)  # the answer to a shutdown request leaves first
    return status


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument("--life-line", type=int)
    parser.add_argument("--runtime-dir")
    flags, _ = parser.parse_known_args()
    if json.loads(os.environ.get("FAKE_DAEMON", "{}")).get("fails"):
        sys.stderr.write("the disk is on fire\n")
        return 70
    return asyncio.run(serve(flags))


if __name__ == "__main__":
    sys.exit(main())

"""What a zygote does once so that no governor has to: the first calls of what each will call.

Python rewrites a function's code while it is called for the first ten times, and lays out the
attributes of a class with its first object: pages that every governor would otherwise copy. Nothing
here reads or leaves anything; the event loops are closed again, as no fork would survive one.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime

from intendant.broker import zmtp
from intendant.process.stub import ignored_signals
from intendant.process.waits import first_of, settled
from intendant.protocol import mdp
from intendant.protocol.environment import decode_environment, encode_environment
from intendant.protocol.messages import (
    GOVERNOR_REQUEST,
    RunFinishedRequest,
    RunStartRequest,
    RunStartResponse,
    encode,
)
from intendant.protocol.records import ClaimRecord, ExitRecord
from intendant.protocol.run_states import Outcome
from intendant.protocol.specs import RunSpec, Secrets

_TIMES = 10
"""Python specialises a function's code from the eighth call on (PEP 659)."""


def warm_up() -> None:
    """Play through what governors do, but for processes, files and connections."""
    ignored_signals()
    hashlib.sha256(b"").hexdigest()
    for _ in range(_TIMES):
        asyncio.run(_play())


async def _play() -> None:
    await _wait_for_start()
    request = RunStartRequest(
        run_id=1,
        attempt=1,
        spec=RunSpec.model_validate({"workload": {"kind": "command", "argv": ["true"]}}),
        secrets=Secrets(environment=encode_environment({b"HOME": b"/"})),
    )
    _understand(_sent(encode(request)))
    ClaimRecord(pid=1, start_time=1, boot_id="", token_sha256="").model_dump_json()
    record = ExitRecord(
        run_id=1,
        attempt=1,
        token_sha256="",
        outcome=Outcome.SUCCEEDED,
        finished_at=datetime.now(UTC),
    )
    record.model_dump_json()
    _sent(encode(RunFinishedRequest(token="none", record=record)))  # noqa: S106 nobody's


async def _wait_for_start() -> None:
    """The tasks and time limits of a governor, with an answer that comes at once."""
    answer = RunStartResponse(run_id=1, attempt=1, pid=1, started_at=datetime.now(UTC))
    started: asyncio.Future[RunStartResponse] = asyncio.Future()
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        aide = tasks.create_task(asyncio.Event().wait())
        asyncio.get_running_loop().call_soon(started.set_result, answer)
        await first_of(asyncio.Event().wait(), settled(started), limit_s=60)
        encode(await asyncio.shield(started))
        aide.cancel()


def _understand(body: bytes) -> None:
    message = GOVERNOR_REQUEST.validate_json(body)
    if isinstance(message, RunStartRequest) and message.secrets.environment is not None:
        decode_environment(message.secrets.environment)


def _sent(body: bytes) -> bytes:
    """What comes out of a connection that `body` was put into."""
    decoder = zmtp.Decoder(max_frame_bytes=mdp.MAX_FRAME_BYTES)
    frames = [mdp.WORKER, mdp.W_REQUEST, b"a:b", b"", body]
    [message] = decoder.feed(zmtp.OPENING + zmtp.encode(frames))
    return message[-1]

"""The five hottest paths, and how much work each may be: `python -m benchmarks.guard [--write]`.

What is kept in `guard.json` are counts (`benchmarks.counting`), which neither the machine nor what
else runs there can change; a test compares them with today's. `--write` keeps today's.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import apsw

from benchmarks.counting import instructions, sqlite_steps
from intendant.broker.config import BrokerConfig
from intendant.broker.core import BrokerCore
from intendant.broker.services import Peer
from intendant.protocol import mdp
from intendant.protocol.messages import EXECUTOR_REQUEST, RESPONSE, encode
from intendant.protocol.roles import local
from intendant.protocol.run_states import Outcome
from intendant.protocol.runfile import parse_run_file
from intendant.protocol.specs import Submission
from intendant.store import attempts, queries
from intendant.store.base import AttemptEnd
from intendant.store.database import BUSY_TIMEOUT_S, prepare
from intendant.store.submit import submit
from intendant.store.transaction import Transaction

KEPT = Path(__file__).with_name("guard.json")
MARGIN = 1.5
"""A count may be so many times what is kept, or that part of it: versions of Python and of SQLite
differ by less, a path that has become long by more."""

SAMPLES = Path(__file__).parents[1] / "protocol" / "samples" / "v1"
WAITING = 1000
"""Runs that wait meanwhile: a path that looks at each of them would show."""
STEPS = 20
NOW = datetime(2030, 1, 1, tzinfo=UTC)
TOKEN = "0" * 64

Counts = dict[str, int]


def counted() -> Counts:
    """Today's count of each path, by name and by what is counted."""
    return {
        **_warm("broker_hop.instructions", _broker_hop()),
        **_warm("messages.instructions", _messages),
        **_warm("spec_check.instructions", _spec_check),
        **_store_paths(),
    }


def kept() -> Counts:
    """The counts that were kept."""
    found: Counts = json.loads(KEPT.read_text(encoding="utf-8"))
    return found


def differences(today: Counts, kept: Counts) -> list[str]:
    """A sentence for each count beyond the margin."""
    return [
        f"{name}: {today.get(name)}, kept is {kept.get(name)} (see benchmarks/guard.py)"
        for name in sorted({*today, *kept})
        if not _is_close(today.get(name), kept.get(name))
    ]


def _is_close(today: int | None, kept: int | None) -> bool:
    if today is None or kept is None:
        return False
    return kept <= MARGIN * today and today <= MARGIN * kept


def _warm(name: str, work: Callable[[], object]) -> Counts:
    """The count of the second time: the first pays for what happens once."""
    work()
    return {name: instructions(work)}


# --- the paths -----------------------------------------------------------------------------------


def _broker_hop() -> Callable[[], object]:
    """One request through the protocol, and its answer."""
    core = BrokerCore(BrokerConfig(open_registration=True))
    client, worker = (Peer(0, name, local("ann")) for name in (b"client", b"worker"))
    core.receive(worker, [mdp.WORKER, mdp.W_READY, b"echo"], 0.0)

    def hop() -> None:
        question = [mdp.CLIENT, mdp.C_REQUEST, b"echo", b"?"]
        [(_, request, _)] = core.receive(client, question, 0.0)
        answer = [mdp.WORKER, mdp.W_FINAL, request[2], b"", b"!"]
        [_] = core.receive(worker, answer, 0.0)

    return hop


def _messages() -> None:
    """A submission read, a list of runs written."""
    EXECUTOR_REQUEST.validate_json(_REQUEST)
    encode(_LIST)


_REQUEST = (SAMPLES / "run_submit_request.json").read_bytes()
_LIST = RESPONSE.validate_json((SAMPLES / "run_list_response.json").read_bytes())


def _spec_check() -> None:
    """A run file with a pipeline: each step after the one before, and fed by it."""
    parse_run_file(_PIPELINE, source="guard")


_PIPELINE: dict[str, object] = {
    "name": "guard",
    "steps": [
        {
            "name": f"s{number}",
            "call": "time:ctime",
            "args": {"secs": f"${{s{number - 1}.outputs.value}}"} if number else {},
        }
        for number in range(STEPS)
    ],
}


def _store_paths() -> Counts:
    """A run's way through the store, twice; what is counted is the second."""
    with tempfile.TemporaryDirectory() as folder, _database(Path(folder) / "db") as connection:
        _Way(connection).go(WAITING + 1)
        counts: Counts = {}
        way = _Way(connection)
        for name, work in (("submit", way.submit), ("pick", way.pick), ("live", way.live)):
            with sqlite_steps(connection) as steps:
                counts[f"store_{name}.instructions"] = instructions(work)
                counts[f"store_{name}.sqlite_steps"] = steps()
        return counts


@contextmanager
def _database(path: Path) -> Iterator[apsw.Connection]:
    with closing(prepare(path, busy_timeout_s=BUSY_TIMEOUT_S)) as connection:
        connection.pragma("synchronous", 0)  # what is counted is no flush
        yield connection


class _Way:
    """What one run asks of the store, each change a transaction as the writer makes it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._run_id = 0

    def go(self, count: int) -> None:
        """So many are submitted; the first one goes all the way."""
        for _ in range(count):
            self.submit()
        self.pick()
        self.live()

    def submit(self) -> None:
        """One submission."""
        self._write(lambda tx: submit(tx, [_SUBMISSION], account="ann", limit=10 * WAITING))

    def pick(self) -> None:
        """What may start next."""
        found = queries.candidates(self._connection.execute, {"default": 2}, exclude=(), now=NOW)
        self._run_id = found[0].run_id

    def live(self) -> None:
        """The attempt's intent, its start and its end."""
        self._write(lambda tx: attempts.grant(tx, self._run_id, 1, token_sha256=TOKEN))
        self._write(lambda tx: attempts.started(tx, self._run_id, 1, at=NOW, pid=1))
        self._write(lambda tx: attempts.ended(tx, self._run_id, 1, end=_END))

    def _write(self, work: Callable[[Transaction], object]) -> None:
        with self._connection:
            transaction = Transaction(self._connection, lambda: NOW)
            work(transaction)
            transaction.touched()


_END = AttemptEnd(
    outcome=Outcome.SUCCEEDED, reason=None, exit_code=0, signal=None, started_at=NOW,
    finished_at=NOW,
)  # fmt: skip


_SUBMISSION = Submission.model_validate(
    {
        "spec": {"workload": {"kind": "command", "argv": ["true"], "cwd": "/"}},
        "secrets": {"environment": "QT1iAA=="},
    }
)


def main(words: list[str]) -> int:
    """Say today's counts beside those kept; the exit status."""
    if words not in ([], ["--write"]):
        print("usage: python -m benchmarks.guard [--write]", file=sys.stderr)
        return 2
    today = counted()
    if words:
        KEPT.write_text(json.dumps(today, indent=2) + "\n", encoding="utf-8")
    for name, count in today.items():
        print(f"{name:32} {count:>8} {kept().get(name, '-'):>8}")
    found = differences(today, kept())
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

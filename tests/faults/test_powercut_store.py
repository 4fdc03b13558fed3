"""Power cuts under the store: what was acknowledged is there, and what is there makes sense.

A life of the store is a few clients who submit runs and lead them to their ends, until the power
goes after some number of disk operations. Then the database is looked at, and the next life goes on
with what is left of the disk.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import apsw
import pytest

from intendant.errors import StoreError
from intendant.protocol.run_states import Outcome
from intendant.store import database
from intendant.store.base import AttemptEnd
from intendant.store.sqlite import SqliteStore
from tests.faults.powercut import Loss, PowerCutVfs, SimulatedDisk, power_cuts
from tests.helpers.stores import TOKEN, ManualClock, check_invariants, submission

LIVES_OF_A_DISK = 7
CLIENTS = 4
PAIRS = 4
MAX_OPERATIONS = 1000
"""About what a life takes that ends in peace."""


@pytest.fixture(name="vfs")
def _vfs(monkeypatch: pytest.MonkeyPatch) -> Iterator[PowerCutVfs]:
    # Checkpoints in the middle of a life, too; the usual limit comes after a thousand pages.
    monkeypatch.setitem(database._WRITER_PRAGMAS, "wal_autocheckpoint", 100)
    with power_cuts() as vfs:
        yield vfs


@dataclass
class Witness:
    """What the clients know."""

    events: dict[int, int] = field(default_factory=dict)
    """How many events of each run were acknowledged; the next one may be on disk all the same."""
    ids: dict[str, list[int]] = field(default_factory=dict)
    """What was acknowledged for each key."""
    unanswered: set[str] = field(default_factory=set)


@dataclass
class Findings:
    """What became of the disks."""

    cuts: int = 0
    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


class Client:
    """Submits runs and leads them to their ends; notes what it is told when it is told."""

    def __init__(self, store: SqliteStore, witness: Witness, chance: random.Random) -> None:
        self._store = store
        self._witness = witness
        self._chance = chance
        self._clock = ManualClock()

    async def work(self, name: str) -> None:
        for at in range(PAIRS):
            first, second = await self.submit(f"{name}.{at}")
            await self._lead(first)
            if self._chance.random() < 0.3:
                await self._store.request_stop([second], outcome=Outcome.CANCELLED, reason="no")
                self._witness.events[second] += 1
            else:
                await self._lead(second)

    async def submit(self, key: str) -> list[int]:
        """Two runs, the second after the first: both or none."""
        self._witness.unanswered.add(key)
        first = submission("first", key=key)
        second = submission("second", key=f"{key}+", after=["first"])
        ids = await self._store.submit([first, second], account="ada")
        self._witness.unanswered.discard(key)
        self._witness.ids[key] = ids
        self._witness.events |= dict.fromkeys(ids, 1)
        return ids

    async def _lead(self, run_id: int) -> None:
        now = self._clock()
        end = AttemptEnd(Outcome.SUCCEEDED, None, 0, None, started_at=now, finished_at=now)
        changes = (
            partial(self._store.grant, run_id, 1, token_sha256=TOKEN),
            partial(self._store.started, run_id, 1, at=now, pid=4711),
            partial(self._store.ended, run_id, 1, end=end),
        )
        for change in changes:
            await change()
            self._witness.events[run_id] += 1


class Trial:
    """Lives and cuts, one after the other; `findings` is what they show."""

    def __init__(self, vfs: PowerCutVfs, folder: Path, *, ignores_syncs: bool = False) -> None:
        self._vfs = vfs
        self._path = folder / "store.db"
        self._ignores_syncs = ignores_syncs
        self._chance = random.Random(0)
        self.findings = Findings()

    async def run(self, cuts: int) -> Findings:
        while self.findings.cuts < cuts:
            self._vfs.disk = SimulatedDisk(ignores_syncs=self._ignores_syncs)
            witness = Witness()
            for life in range(LIVES_OF_A_DISK):
                await self._live(f"life {life}", witness)
                self._cut()
                if not self._look(witness):
                    break
        return self.findings

    async def _live(self, name: str, witness: Witness) -> None:
        disk = self._vfs.disk
        disk.lasts = self._chance.randrange(1, MAX_OPERATIONS)
        with suppress(StoreError):
            store = await SqliteStore.open(
                self._path, now=ManualClock(), on_change=lambda _changes: None
            )
            try:
                await self._ask_again(store, witness)
                clients = (Client(store, witness, self._chance) for _ in range(CLIENTS))
                work = (client.work(f"{name}.{at}") for at, client in enumerate(clients))
                for end in await asyncio.gather(*work, return_exceptions=True):
                    if end is not None and not isinstance(end, StoreError):
                        raise end
            finally:
                await store.close()

    async def _ask_again(self, store: SqliteStore, witness: Witness) -> None:
        """What had no answer gets one now, and what had one gets the same."""
        client = Client(store, Witness(), self._chance)
        for key, ids in [*witness.ids.items()][-3:]:
            if await client.submit(key) != ids:
                self.findings.lost.append(f"{key} is not {ids} any more")
        for key in sorted(witness.unanswered):
            ids = await client.submit(key)
            witness.ids[key] = ids
            for run_id in ids:
                witness.events.setdefault(run_id, 1)
            witness.unanswered.discard(key)

    def _cut(self) -> None:
        disk = self._vfs.disk
        self.findings.cuts += disk.has_failed
        self._vfs.disk = disk.after_cut(self._chance.choice([*Loss]), self._chance)

    def _look(self, witness: Witness) -> bool:
        """Compare the disk to what the clients know; whether it is worth going on with it."""
        found_disk, self._vfs.disk = self._vfs.disk, deepcopy(self._vfs.disk)
        try:
            known = _events_by_run(self._path)
        except (AssertionError, StoreError, apsw.Error) as error:
            self.findings.damaged.append(repr(error))
            return False
        finally:
            self._vfs.disk = found_disk  # as the next life is to find it
        self.findings.acknowledged += len(witness.events)
        before = len(self.findings.lost)
        for run_id, acknowledged in witness.events.items():
            found = known.get(run_id, 0)
            if not acknowledged <= found <= acknowledged + 1:
                self.findings.lost.append(f"run {run_id}: {found} events of {acknowledged}")
            witness.events[run_id] = found  # what was not acknowledged is on disk now
        return len(self.findings.lost) == before


def _events_by_run(path: Path) -> dict[int, int]:
    """How many events each run has, in a database that makes sense once it is opened again."""
    connection = database.prepare(path, busy_timeout_s=0)
    try:
        query = "SELECT run_id, count(*) FROM event GROUP BY run_id"
        counts = {
            int(str(run_id)): int(str(events)) for run_id, events in connection.execute(query)
        }
    finally:
        connection.close()
    check_invariants(path)
    return counts


async def test_no_power_cut_loses_what_was_acknowledged(
    vfs: PowerCutVfs, tmp_path: Path, is_long: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = await Trial(vfs, tmp_path).run(2000 if is_long else 40)

    if is_long:
        with capsys.disabled():
            print(f"\n{findings.cuts:,} power cuts, {findings.acknowledged:,} runs looked for")  # noqa: T201
    assert findings.damaged == []
    assert findings.lost == []
    assert findings.acknowledged > findings.cuts


async def test_a_commit_that_is_not_synced_is_lost_in_a_power_cut(
    vfs: PowerCutVfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(database._WRITER_PRAGMAS, "synchronous", 1)  # NORMAL

    findings = await Trial(vfs, tmp_path).run(25)

    assert findings.lost != []
    assert findings.damaged == []


async def test_a_disk_that_ignores_syncs_is_found_out(vfs: PowerCutVfs, tmp_path: Path) -> None:
    findings = await Trial(vfs, tmp_path, ignores_syncs=True).run(25)

    assert findings.lost != []
    assert findings.damaged != []

"""Power cuts under claims, tombstones and exit records: absent or whole, and there once promised.

What the spool does is done once and its journal kept. Then every cut is played through: after each
entry, with each set of writes and names that may have reached the disk.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from pydantic import ValidationError

from intendant.protocol.records import ClaimRecord, ExitRecord, StepRecord, TombstoneRecord
from intendant.protocol.run_states import Outcome, RunNote
from intendant.store.spool import AttemptFolder, Spool
from tests.faults.wrecks import Entry, JournalingDisk, Killed, Wreck, wrecks

AT = datetime(2030, 1, 1, tzinfo=UTC)
CLAIM = ClaimRecord(pid=4711, start_time=1, boot_id="boot", token_sha256="0" * 64)
TOMBSTONE = TombstoneRecord(by="test", at=AT)
EXIT = ExitRecord(
    run_id=1,
    attempt=1,
    token_sha256="0" * 64,
    outcome=Outcome.SUCCEEDED,
    exit_code=0,
    finished_at=AT,
    steps=[StepRecord(event=RunNote.TERM_SENT, at=AT)],
)

Check = Callable[[AttemptFolder], bool]
Life = Callable[["Story"], None]


@dataclass
class Story:
    """What is done to a spool, and from which entry of the journal on something is promised."""

    root: Path
    journal: list[Entry] = field(default_factory=list)
    promises: list[tuple[int, str, Check]] = field(default_factory=list)
    lasts: int | None = None

    def spool(self) -> Spool:
        return Spool(self.root, JournalingDisk(self.journal, self.lasts))

    def promise(self, what: str, check: Check) -> None:
        self.promises.append((len(self.journal), what, check))


def folder_is_made(story: Story) -> None:
    story.spool().make_attempt(1, 1)
    story.promise("the folder is there", lambda folder: folder.path.is_dir())


def attempt_is_claimed(story: Story) -> None:
    folder = story.spool().make_attempt(1, 1)
    descriptor = folder.claim(CLAIM)
    assert descriptor is not None
    os.close(descriptor)
    story.promise("the claim is there", lambda folder: folder.read_claim() == CLAIM)


def attempt_is_buried(story: Story) -> None:
    folder = story.spool().make_attempt(1, 1)
    assert folder.entomb(by=TOMBSTONE.by, at=TOMBSTONE.at)
    story.promise("the tombstone is there", lambda folder: folder.read_claim() == TOMBSTONE)


def attempt_ends(story: Story) -> None:
    attempt_is_claimed(story)
    story.spool().attempt(1, 1).write_exit(EXIT)
    story.promise("the exit record is there", lambda folder: folder.read_exit() == EXIT)


LIVES = [folder_is_made, attempt_is_claimed, attempt_is_buried, attempt_ends]


def troubles(story: Story, *, without: int | None = None) -> Iterator[str]:
    """What is wrong after some power cut; `without` leaves an entry out, as if nobody did it."""
    for cut in range(len(story.journal) + 1):
        done = [entry for at, entry in enumerate(story.journal[:cut]) if at != without]
        promises = [(what, check) for since, what, check in story.promises if since <= cut]
        yield from judge(story, done, promises)


def judge(
    story: Story, done: Sequence[Entry], promises: Sequence[tuple[str, Check]]
) -> Iterator[str]:
    for wreck in distinct(wrecks(done, story.root)):
        found = salvage(wreck, story.root)
        for what, check in promises:
            if not is_kept(check, found):
                yield f"after {len(done)} entries: not so: {what}"
        if not is_kept(lambda folder: folder.read_claim() in (None, CLAIM, TOMBSTONE), found):
            yield f"after {len(done)} entries: half a claim"
        if not is_kept(lambda folder: folder.read_exit() in (None, EXIT), found):
            yield f"after {len(done)} entries: an exit record that nobody wrote"


def distinct(wrecks: Iterable[Wreck]) -> list[Wreck]:
    """Those that differ in a name that somebody reads."""
    seen = {}
    for wreck in wrecks:
        read = {path: content for path, content in wreck.items() if not path.name.startswith(".")}
        seen[frozenset(read.items())] = read
    return [*seen.values()]


def is_kept(check: Check, folder: AttemptFolder) -> bool:
    try:
        return check(folder)
    except ValidationError:
        return False


_numbers = count()


def salvage(wreck: Wreck, root: Path) -> AttemptFolder:
    """What was left, in a folder to look at."""
    found = root.parent / f"wreck-{next(_numbers)}"
    for path, content in sorted(wreck.items()):
        place = found / path.relative_to(root)
        if content is None:
            place.mkdir(parents=True)
        else:
            place.write_bytes(content)
    return AttemptFolder(found / "1" / "1")


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    root = tmp_path / "spool"
    root.mkdir()
    return root


@pytest.mark.parametrize("life", LIVES)
def test_a_power_cut_leaves_records_whole_or_absent(life: Life, root: Path) -> None:
    story = Story(root)
    life(story)

    assert next(troubles(story), None) is None


@pytest.mark.parametrize("life", LIVES)
def test_every_sync_of_the_spool_is_needed(life: Life, root: Path) -> None:
    story = Story(root)
    life(story)
    syncs = [at for at, entry in enumerate(story.journal) if entry.is_sync]

    assert syncs
    for sync in syncs:
        assert next(troubles(story, without=sync), None) is not None, story.journal[sync]


def test_a_folder_whose_maker_was_killed_is_made_to_last(root: Path) -> None:
    for story in killed(folder_is_made, root):
        folder_is_made(story)

        assert next(troubles(story), None) is None


def test_a_tombstone_after_a_governor_that_was_killed_is_whole(root: Path) -> None:
    buried = 0
    for story in killed(attempt_ends, root):
        folder = story.spool().make_attempt(1, 1)
        if folder.entomb(by=TOMBSTONE.by, at=TOMBSTONE.at):
            story.promise("the tombstone is there", lambda folder: folder.read_claim() == TOMBSTONE)
            buried += 1

        assert next(troubles(story), None) is None
    assert buried > 3


def killed(life: Life, root: Path) -> Iterator[Story]:
    """The life, broken off after each entry of its journal."""
    whole = Story(root)
    life(whole)
    for lasts in range(len(whole.journal)):
        shutil.rmtree(root / "1", ignore_errors=True)
        story = Story(root, lasts=lasts)
        with suppress(Killed):
            life(story)
        story.lasts = None
        yield story

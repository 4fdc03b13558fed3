"""Files that grow and are turned over, read as lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from intendant.executor.system_log import SystemLogReader, Tail
from intendant.logs import SystemLog
from intendant.protocol.folders import system_log
from intendant.store.spool import Spool


def said(at: str, event: str, *, level: str = "info", **more: object) -> str:
    return json.dumps({"timestamp": at, "level": level, "event": event, **more})


def at(second: int) -> str:
    return f"2030-01-01T00:00:{second:02d}.000000Z"


def test_a_tail_gives_whole_lines_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = Tail(path)
    assert tail.read() == []
    path.write_bytes(b"one\ntw")
    assert tail.read() == [b"one"]
    path.write_bytes(b"one\ntwo\n")
    assert tail.read() == [b"two"]
    assert tail.read() == []


def test_a_tail_loses_nothing_when_the_file_is_turned_over(tmp_path: Path) -> None:
    log = SystemLog(tmp_path / "log", limit_bytes=10)
    tail = Tail(tmp_path / "log")
    log.write("1")
    assert tail.read() == [b"1"]
    for word in ("2", "3", "4", "5", "6"):
        log.write(word)
    log.close()

    assert tail.read() == [b"2", b"3", b"4", b"5", b"6"]


def test_a_new_tail_begins_with_the_older_file(tmp_path: Path) -> None:
    log = SystemLog(tmp_path / "log", limit_bytes=4)
    for word in ("1", "2", "3"):
        log.write(word)
    log.close()

    assert Tail(tmp_path / "log").read() == [b"1", b"2", b"3"]


def test_a_tail_of_the_end_begins_there(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"one\ntwo\n")

    assert Tail(tmp_path / "log", last_bytes=4).read() == [b"two"]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """A spool with one governor's log beside the daemon's."""
    path = system_log(tmp_path)
    path.parent.mkdir()
    daemon = [
        said(at(1), "daemon_ready", role="executor"),
        said(at(3), "governor_lost", role="executor", level="error", run_id=1),
    ]
    path.write_text("".join(f"{line}\n" for line in daemon))
    spool = Spool(tmp_path / "spool")
    spool.root.mkdir()
    log = spool.make_attempt(1, 1).log("governor")
    log.write_text(f"{said(at(2), 'workload_started')}\nTraceback\n")
    return spool


@pytest.mark.parametrize(
    ("options", "attempts", "only", "found"),
    [
        ({}, [], None, ["daemon_ready", "governor_lost"]),
        ({}, [(1, 1)], None, ["daemon_ready", "workload_started", "Traceback", "governor_lost"]),
        ({}, [(1, 1)], {1}, ["workload_started", "Traceback", "governor_lost"]),
        ({"level": "error"}, [(1, 1), (7, 1)], None, ["Traceback", "governor_lost"]),
        ({"after": datetime(2030, 1, 1, 0, 0, 3, tzinfo=UTC)}, [(1, 1)], None, ["governor_lost"]),
    ],
)  # fmt: skip
async def test_lines_are_put_together_by_time(
    spool: Spool,
    options: dict[str, object],
    attempts: list[tuple[int, int]],
    only: set[int] | None,
    found: list[str],
) -> None:
    wanted: dict[str, object] = {"level": "debug", "after": None, **options}
    with SystemLogReader(spool.root.parent, spool, **wanted) as reader:  # type: ignore[arg-type]
        lines = reader.read(attempts, only=only)

    texts = [line.text if line.text == "Traceback" else json.loads(line.text)["event"]
             for line in lines]  # fmt: skip
    assert texts == found


async def test_a_line_says_who_wrote_it(spool: Spool) -> None:
    with SystemLogReader(spool.root.parent, spool, level="debug", after=None) as reader:
        lines = reader.read([(1, 1)], only=None)
        assert [line.source for line in lines[:2]] == ["executor", "governor 1.1"]
        assert reader.read([(1, 1)], only=None) == []

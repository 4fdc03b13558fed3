"""What runs write, as it was written: whole, binary, while they write it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from tests.helpers.daemon import INTENDANT, Daemon
from tests.helpers.waiting import wait_for

BIG = 5_000_000


def test_output_and_errors_are_kept_apart(served: Daemon) -> None:
    run_id = ended(served, "sh", "-c", "echo to stdout; echo to stderr >&2")

    assert served.run("logs", str(run_id)).stdout == "to stdout\n"
    assert served.run("logs", "--stderr", str(run_id)).stdout == "to stderr\n"


def test_last_means_the_newest_run(served: Daemon) -> None:
    ended(served, "echo", "old")
    ended(served, "echo", "new")

    assert served.run("logs", "last").stdout == "new\n"


def test_a_run_that_wrote_nothing_has_an_empty_log(served: Daemon) -> None:
    run_id = ended(served, "true")

    done = served.run("logs", str(run_id))

    assert (done.returncode, done.stdout) == (0, "")


def test_a_run_that_has_not_started_has_an_empty_log(served: Daemon) -> None:
    run_id = served.submit("true", flags=["--hold"])

    done = served.run("logs", str(run_id))

    assert (done.returncode, done.stdout) == (0, "")
    served.run("cancel", str(run_id))


@pytest.mark.parametrize("flags", [[], ["-f"]], ids=["logs", "logs -f"])
def test_five_megabytes_of_random_bytes_arrive_as_they_were(
    served: Daemon, flags: list[str]
) -> None:
    run_id = ended(served, "sh", "-c", f"head -c {BIG} /dev/urandom | tee random.bin")

    found = log_bytes(served, *flags, str(run_id))

    assert len(found) == BIG
    assert digest(found) == digest((served.home / "random.bin").read_bytes())


def test_following_shows_each_line_when_it_is_written(served: Daemon) -> None:
    os.mkfifo(served.home / "say")
    run_id = served.submit("sh", "-c", "while read line; do echo $line; done < say")
    following = follow(served, str(run_id))

    with (served.home / "say").open("w", buffering=1) as say:
        for line in ("one\n", "two\n", "three\n"):
            say.write(line)
            assert read_line(following) == line

    assert following.wait(60) == 0


def test_following_starts_with_what_was_written_before(served: Daemon) -> None:
    script = "echo before; touch written; until test -e go; do sleep 0.05; done; echo after"
    run_id = served.submit("sh", "-c", script)
    wait_for("it has written", (served.home / "written").exists)
    following = follow(served, str(run_id))
    assert read_line(following) == "before\n"

    (served.home / "go").touch()

    assert following.communicate(timeout=60)[0] == "after\n"
    assert following.returncode == 0


def test_following_a_queued_run_waits_for_it(served: Daemon) -> None:
    served.run("queue", "pause", "default")
    run_id = served.submit("echo", "at last")
    following = follow(served, str(run_id))

    served.run("queue", "resume", "default")

    assert following.communicate(timeout=60)[0] == "at last\n"


def test_following_goes_on_from_attempt_to_attempt(served: Daemon) -> None:
    script = "echo attempt $INTENDANT_ATTEMPT; until test -e fail; do sleep 0.05; done; exit 1"
    (served.home / "retry.json").write_text(
        json.dumps({"argv": ["sh", "-c", script], "retry": {"attempts": 2, "backoff": 0.2}})
    )
    following = follow(served, served.run("submit", "retry.json").stdout.strip())
    assert read_line(following) == "attempt 1\n"

    (served.home / "fail").touch()

    assert following.communicate(timeout=60)[0] == "attempt 2\nattempt 3\n"


def test_following_a_fast_writer_loses_and_repeats_nothing(served: Daemon) -> None:
    run_id = served.submit("seq", "1", "300000")

    found = log_bytes(served, "-f", str(run_id))

    assert found == b"".join(b"%d\n" % number for number in range(1, 300_001))


def test_a_slow_reader_is_cut_off_and_goes_on_at_its_place(folders: Daemon) -> None:
    folders.start(environment={"INTENDANT_LOG_LEVEL": "debug"})
    run_id = folders.submit("seq", "1", "4000000")
    log = folders.attempt_folder(run_id) / "stdout.log"
    folders.wait_state(run_id, "ended")

    with folders.client() as client:
        pieces = client.logs(run_id, follow=True)
        found = [next(pieces)]
        wait_for("it is cut off", lambda: "client too slow" in folders.log_text())
        found += pieces

    assert b"".join(found) == log.read_bytes()
    assert max(map(len, found)) <= 64 * 1024


def test_a_slow_reader_of_events_is_cut_off_costs_little_and_goes_on_at_its_place(
    folders: Daemon,
) -> None:
    folders.start(environment={"INTENDANT_LOG_LEVEL": "debug"})
    held = [{"workload": {"kind": "command", "argv": ["true"]}, "hold": True}] * 50
    with folders.client() as reader, folders.client() as writer:
        events = reader.events(follow=True)
        last = writer.submit(["true"], hold=True).id
        found = [next(events)["run_id"]]
        before = resident_bytes(folders)

        while "client too slow" not in folders.log_text():
            last = writer.submit_all(held)[-1].id
            assert last < 50_000, "nobody is cut off"

        assert resident_bytes(folders) - before < 200 * 1024 * 1024
        while found[-1] < last:
            found.append(next(events)["run_id"])
    assert found == [*range(1, last + 1)]


def resident_bytes(daemon: Daemon) -> int:
    """The memory of the executor and the broker."""
    pids = daemon.pid, daemon.status()["broker"]["pid"]
    return sum(psutil.Process(pid).memory_info().rss for pid in pids)


def test_several_can_follow_the_same_run(served: Daemon) -> None:
    run_id = served.submit("sh", "-c", "until test -e all; do sleep 0.05; done; echo to everybody")
    followers = [follow(served, str(run_id)) for _ in range(4)]

    (served.home / "all").touch()

    assert [each.communicate(timeout=60)[0] for each in followers] == ["to everybody\n"] * 4


def test_a_follower_that_goes_away_disturbs_nobody(served: Daemon) -> None:
    script = "until test -e leave; do echo x; sleep 0.01; done; echo end"
    run_id = served.submit("sh", "-c", script)
    following = follow(served, str(run_id))
    read_line(following)

    following.kill()
    following.communicate(timeout=60)
    (served.home / "leave").touch()

    assert served.run("wait", str(run_id)).returncode == 0
    assert served.run("logs", str(run_id)).stdout.endswith("end\n")


def ended(daemon: Daemon, *argv: str) -> int:
    """A run that has ended well."""
    done = daemon.run("submit", "--wait", "--", *argv)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def follow(daemon: Daemon, run_id: str) -> subprocess.Popen[str]:
    return daemon.popen("logs", "-f", run_id)


def read_line(following: subprocess.Popen[str]) -> str:
    assert following.stdout is not None
    return following.stdout.readline()


def log_bytes(daemon: Daemon, *arguments: str) -> bytes:
    """A log, as the command line writes it to a pipe."""
    return subprocess.run(
        [INTENDANT, "logs", *arguments],
        capture_output=True, timeout=60, env=daemon.environment, check=True,
    ).stdout  # fmt: skip


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(autouse=True)
def tidy(served: Daemon) -> Iterator[None]:
    """The queue is as it was."""
    yield
    served.run("queue", "resume", "default")

"""The system log: one file for several writers, bounded."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from intendant.logs import Sparingly, SystemLog, console_line, older


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "system.log"


def test_lines_stand_in_the_order_of_writing_for_the_owner_alone(path: Path) -> None:
    one, other = SystemLog(path), SystemLog(path)
    one.write("a")
    other.write("b")
    one.write("ć\udcff")
    one.close()
    other.close()

    assert path.read_bytes() == "a\nb\nć\\udcff\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_full_file_takes_the_place_of_the_one_before(path: Path) -> None:
    log = SystemLog(path, limit_bytes=8)
    for word in ("1111111", "2222222", "333"):
        log.write(word)
    log.close()

    assert (older(path).read_text(), path.read_text()) == ("2222222\n", "333\n")
    assert len(list(path.parent.iterdir())) == 2


def test_writers_turn_a_file_over_once_and_all_go_on_in_the_new_one(path: Path) -> None:
    one, other = SystemLog(path, limit_bytes=8), SystemLog(path, limit_bytes=8)
    other.write("a")
    one.write("1111111")  # turns it over, under the other's feet
    other.write("b")
    one.write("c")
    one.close()
    other.close()

    assert (older(path).read_text(), path.read_text()) == ("a\n1111111\n", "b\nc\n")


def test_a_removed_file_is_made_again(path: Path) -> None:
    log = SystemLog(path)
    log.write("a")
    path.unlink()
    log.write("b")
    log.close()

    assert path.read_text() == "b\n"


def test_what_can_not_be_written_is_lost_and_harms_nobody(tmp_path: Path) -> None:
    log = SystemLog(tmp_path / "no-folder" / "system.log")
    log.write("a")
    log.close()


def test_a_planted_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious\n")
    path.symlink_to(target)
    log = SystemLog(path)
    log.write("a")
    log.close()

    assert target.read_text() == "precious\n"


def test_what_strangers_cause_is_logged_so_often_a_minute_and_what_was_left_out_is_counted() -> (
    None
):
    now = 0.0
    sparingly = Sparingly(2, clock=lambda: now)
    assert [sparingly.take() for _ in range(5)] == [0, 0, None, None, None]
    now = 60.0
    assert [sparingly.take() for _ in range(3)] == [3, 0, None]


def test_on_a_terminal_no_text_of_others_is_a_command_or_a_line_of_its_own() -> None:
    event = {"event": "run_ended", "reason": "x\x1b[2J\r\n12:00 [error] forged\u2028\x9b"}
    line = console_line(None, "info", event)
    assert "\n" not in line
    assert all(hidden not in line for hidden in ("\x1b[2J", "\r", "\u2028", "\x9b"))
    assert "forged" in line

"""Who starts a study that prompts is asked, or answers by a flag."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from intendant.cli.resuming import answer_of, holds_study
from intendant.errors import SettingsError, StoreError
from intendant.protocol.runfile import parse_run_file
from intendant.protocol.study import StudySpec

STUDY = {"call": "lab:fit", "metric": "loss", "space": {"x": [1, 2]}, "search": "grid",
         "snapshot": "kept", "resume": "prompt"}  # fmt: skip


def source_of(answer: bool | None) -> str | None:
    resumes = None if answer is None else (lambda *_: bool(answer))
    [run] = parse_run_file({"study": STUDY}, source="F.toml", resumes=resumes)
    assert isinstance(run.workload, StudySpec)
    return None if run.workload.resume is None else run.workload.resume.source


def test_the_answer_decides_whether_it_goes_on_from_its_snapshot() -> None:
    assert source_of(True) == "kept"
    assert source_of(False) is None
    assert source_of(None) is None


def test_without_a_snapshot_there_is_nothing_to_ask_about() -> None:
    table = {key: value for key, value in STUDY.items() if key != "snapshot"}
    with pytest.raises(SettingsError, match="asks about the snapshot"):
        parse_run_file({"study": table}, source="F.toml")


def test_nobody_is_asked_about_what_is_not_there(tmp_path: Path) -> None:
    assert not answer_of(None)(str(tmp_path / "none"), None)


def test_a_flag_answers(tmp_path: Path) -> None:
    assert answer_of(True)(str(tmp_path / "none"), None)
    (tmp_path / "latest.json").touch()
    assert not answer_of(False)(str(tmp_path), None)


def test_without_a_terminal_the_error_says_which_flags_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "latest.json").touch()
    with (tmp_path / "input").open("w+") as file:
        monkeypatch.setattr("sys.stdin", file)
        with pytest.raises(SettingsError, match=r"--resume says yes, --no-resume begins anew"):
            answer_of(None)("kept", str(tmp_path))


@pytest.mark.parametrize(("typed", "goes_on"), [(b"y\n", True), (b"\n", True), (b"n\n", False)])
def test_t21_on_a_terminal_somebody_is_asked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: bytes,
    goes_on: bool,
) -> None:
    (tmp_path / "latest.json").touch()
    keyboard, terminal = os.openpty()
    os.write(keyboard, typed)
    with os.fdopen(terminal, "r") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert answer_of(None)(str(tmp_path), None) == goes_on
    os.close(keyboard)
    assert f"{tmp_path} holds a study. Go on from it?" in capsys.readouterr().err


def test_a_place_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(StoreError, match="can't be looked at"):
        holds_study("nowhere://at/all")

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from intendant.errors import SettingsError
from intendant.settings import NEEDS_RESTART, QueueSettings, Settings, read_settings


def test_without_any_settings_everything_has_its_default() -> None:
    assert read() == Settings()
    assert read().slots == os.cpu_count()


def test_flags_beat_the_environment_which_beats_the_files_the_first_of_them_most(
    tmp_path: Path,
) -> None:
    user, site = tmp_path / "user.toml", tmp_path / "site.toml"
    user.write_text('slots = 2\non_signal = "drain"\nlog_level = "error"\n')
    site.write_text('slots = 1\non_signal = "leave"\nlog_level = "warning"\nliveness = 9\n')

    settings = read_settings(
        flags={"slots": 4},
        environ={"INTENDANT_SLOTS": "3", "INTENDANT_ON_SIGNAL": "stop"},
        files=[user, site],
    )

    found = (settings.slots, settings.on_signal, settings.log_level, settings.liveness)
    assert found == (4, "stop", "error", 9)


def test_a_file_that_does_not_exist_says_nothing(tmp_path: Path) -> None:
    assert read(files=[tmp_path / "none.toml"]) == Settings()


def test_a_file_of_comments_leaves_the_defaults(tmp_path: Path) -> None:
    assert read(files=[written(tmp_path, "# slots = 3\n")]) == Settings()


@pytest.mark.parametrize("text", ["", " \n\t\n"])
def test_e21_an_empty_file_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"settings\.toml: found an empty file, expected "):
        read(files=[written(tmp_path, text)])


def test_the_null_device_is_a_file_with_nothing_set() -> None:
    assert read(files=[Path("/dev/null")]) == read(files=[])


def test_queues_are_tables(tmp_path: Path) -> None:
    path = written(tmp_path, "[queues.gpu]\nslots = 2\n[queues.night]\nslots = 1\n")

    assert read(files=[path]).queues == {
        "gpu": QueueSettings(slots=2),
        "night": QueueSettings(slots=1),
    }


def test_several_endpoints_fit_into_one_variable() -> None:
    environ = {"INTENDANT_LISTEN": "tcp://127.0.0.1:1  tcp://127.0.0.1:2"}

    assert read(environ=environ).listen == ["tcp://127.0.0.1:1", "tcp://127.0.0.1:2"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("slots = 0", "slots: found 0, expected at least 1", id="too small"),
        pytest.param("slots = -3", "slots: found -3, expected at least 1", id="negative"),
        pytest.param("slots = 'many'", "slots: found 'many', expected a whole number", id="text"),
        pytest.param("slot = 3", "slot: found an unknown key, expected 'slots' per", id="misspelt"),
        pytest.param("heartbeat_s = '5s'", "heartbeat_s: found '5s', expected a number", id="unit"),
        pytest.param("heartbeat_s = inf", "heartbeat_s: found inf, expected ", id="infinite"),
        pytest.param("start_deadline_s = 0", "start_deadline_s: found 0, expected more", id="zero"),
        pytest.param("on_signal = 'run'", "on_signal: found 'run', expected 'stop', ", id="word"),
        pytest.param("launcher = 'fork'", "launcher: found 'fork', expected 'zygote' or", id="one"),
        pytest.param("on_end = 'mail'", "on_end: found 'mail', expected a list", id="a line"),
        pytest.param("on_end = []", "on_end: found [], expected a list of at least 1", id="empty"),
        pytest.param("on_end_timeout_s = 0", "on_end_timeout_s: found 0, expected more", id="none"),
        pytest.param("[queues.gpu]", "queues.gpu.slots: found nothing, expected a value", id="gap"),
        pytest.param("queues.gpu = 2", "queues.gpu: found 2, expected a table", id="no table"),
        pytest.param("[queues.'a b']\nslots=1", "queues.a b", id="a name that is none"),
        pytest.param("queues.q.slot = 1", "queues.q.slot: found an unknown key", id="key below"),
        pytest.param("slots = 1\nslots =", ": line 2: Invalid value", id="syntax"),
        pytest.param("slots = 1\nslots = 2", ": line 2: Cannot overwrite a value", id="twice"),
    ],
)
def test_a_faulty_file_is_refused_with_its_name_and_the_key(
    tmp_path: Path, text: str, says: str
) -> None:
    path = written(tmp_path, text)

    with pytest.raises(SettingsError) as refused:
        read(files=[path])

    assert str(refused.value).startswith(f"{path}: ")
    assert says in str(refused.value)


def test_every_fault_is_named_at_once_each_with_its_place(tmp_path: Path) -> None:
    path = written(tmp_path, "liveness = 1\nslot = 2\n")

    with pytest.raises(SettingsError) as refused:
        read(files=[path], environ={"INTENDANT_SLOTS": "no"}, flags={"on_signal": "run"})

    places = {line.partition(": found")[0] for line in str(refused.value).splitlines()}
    assert places == {
        f"{path}: liveness",
        f"{path}: slot",
        "environment: slots",
        "command line: on_signal",
    }


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xff\xfe", id="not UTF-8"),
        pytest.param(b"slots = \x00", id="NUL"),
    ],
)
def test_bytes_that_are_no_text_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(content)

    with pytest.raises(SettingsError, match=str(path)):
        read(files=[path])


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"{tmp_path}: can't be read: "):
        read(files=[tmp_path])


def test_a_file_behind_a_file_does_not_exist(tmp_path: Path) -> None:
    path = written(tmp_path, "#") / "settings.toml"

    assert read(files=[path]) == Settings()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().slots = 3  # type: ignore[misc]  # what is tried here


def test_what_needs_a_restart_is_a_setting() -> None:
    assert NEEDS_RESTART.issubset(Settings.model_fields)


def test_every_setting_says_its_unit_and_is_described_or_a_plain_word() -> None:
    undescribed = {name for name, field in Settings.model_fields.items() if not field.description}

    assert undescribed == {"log_level", "queues"}


def read(**given: Any) -> Settings:
    return read_settings(**({"flags": {}, "environ": {}, "files": []} | given))


def written(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path

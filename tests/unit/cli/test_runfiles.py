"""Reading run files."""

from __future__ import annotations

from pathlib import Path

import pytest

from intendant.cli.runfiles import MAX_BYTES, load_run_file
from intendant.errors import SettingsError

SPEC = {"name": "a", "workload": {"kind": "command", "argv": ["true"]}}
SAME = {
    "a.toml": '[[runs]]\nname = "a"\nargv = ["true"]',
    "a.yaml": "runs:\n- name: a\n  argv: ['true']",
    "a.YML": "name: a\nargv: ['true']",
    "a.json": '{"name": "a", "argv": ["true"]}',
}


@pytest.mark.parametrize("name", SAME)
def test_every_syntax_gives_the_same_run(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(SAME[name])
    assert load_run_file(tmp_path / name) == [SPEC]


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.toml", "name = 'a'\nargv =", "line 2"),
        ("a.yaml", "name: a\nargv: [", "line 2"),
        ("a.yaml", "name: a\nargv: !!python/name:os.system", "line 2"),
        ("a.yaml", "a: \x00", "a.yaml"),
        (
            "a.yaml",
            "argv: ['true']\nargv: ['false']",
            "line 2: found the key 'argv' more than once",
        ),
        ("a.json", '{"argv": ["true"], "argv": ["false"]}', "found the key 'argv' more than once"),
        ("a.json", '{"name": "a",\n}', "line 2"),
        ("a.json", "[" * 100_000, "a.json"),
        ("a.toml", "argv = []", "argv"),
        ("a.ini", "", r"found '\.ini', expected a run file"),
        ("a", "", "no suffix"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line_or_key(
    tmp_path: Path, name: str, text: str, complaint: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SettingsError, match=complaint) as caught:
        load_run_file(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"a\.toml: can't be read: No such file"):
        load_run_file(tmp_path / "a.toml")


def test_a_file_that_is_not_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"# fine\n# caf\xe9")
    with pytest.raises(SettingsError, match="line 2: is not UTF-8"):
        load_run_file(tmp_path / "a.toml")


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(SettingsError, match="more than"):
        load_run_file(tmp_path / "a.json")

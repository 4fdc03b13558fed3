"""Files of keys: whose they are, what is in them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from intendant.broker.authorized_keys import read_authorized_keys
from intendant.broker.config import KeyPair
from intendant.broker.keys import make_pair, read_pair, write_pair
from intendant.errors import SettingsError
from intendant.protocol.roles import Caller, Role

KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
OTHER = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"


def written(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_pair_is_read_as_it_was_written(tmp_path: Path) -> None:
    pair = make_pair()
    write_pair(tmp_path / "new" / "a.key", pair)
    assert read_pair(tmp_path / "new" / "a.key") == pair


def test_a_secret_key_is_not_shown() -> None:
    pair = make_pair()
    assert pair.secret not in repr(pair)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_a_pair_that_others_can_get_at_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a.key"
    write_pair(path, make_pair())
    path.chmod(mode)
    with pytest.raises(SettingsError, match=rf"a\.key: found mode {mode:04o}, expected"):
        read_pair(path)


def test_a_pair_whose_halves_do_not_belong_together_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path / "a.key", KeyPair(make_pair().public, make_pair().secret))
    with pytest.raises(SettingsError, match="not the secret key's"):
        read_pair(tmp_path / "a.key")


@pytest.mark.parametrize(
    "text",
    ["", "public_key = 5", f'public_key = "{KEY}"', f'public_key = "{KEY}"\nsecret_key = "x"'],
)
def test_a_file_that_holds_no_pair_is_refused_without_saying_what_it_holds(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(SettingsError, match="expected a key, 40 characters of Z85") as refused:
        read_pair(written(tmp_path, text))
    assert KEY not in str(refused.value)


def test_a_file_says_who_comes_with_which_key(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        f'"{KEY}" = {{ account = "ann", role = "submit" }}\n'
        f'"{OTHER}" = {{ account = "ann", role = "observe", sees = "own" }}\n',
    )
    assert read_authorized_keys(path) == {
        KEY: Caller("ann", Role.SUBMIT, sees_all=False),
        OTHER: Caller("ann", Role.OBSERVE, sees_all=False),
    }


@pytest.mark.parametrize(
    ("more", "sees_all"),
    [('role = "observe"', True), ('role = "submit"', False),
     ('role = "submit", sees = "all"', True), ('role = "operate", sees = "own"', True),
     ('role = "admin"', True)],
)  # fmt: skip
def test_whose_runs_a_key_sees_follows_from_its_role_unless_it_is_said(
    tmp_path: Path, more: str, *, sees_all: bool
) -> None:
    path = written(tmp_path, f'"{KEY}" = {{ account = "ann", {more} }}')
    assert read_authorized_keys(path)[KEY].sees_all is sees_all


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('"short" = { account = "a", role = "admin" }', "expected a public key"),
        (f'"{KEY}" = "admin"', "expected a table"),
        (f'"{KEY}" = {{ account = "a" }}', "role"),
        (f'"{KEY}" = {{ account = "a", role = "root" }}', "role: found 'root'"),
        (f'"{KEY}" = {{ account = "a", role = "govern" }}', "role: found 'govern'"),
        (f'"{KEY}" = {{ account = "a:b", role = "admin" }}', "account: found 'a:b'"),
        (f'"{KEY}" = {{ account = "a", role = "admin", rule = 1 }}', "rule"),
        (f'"{KEY}" = {{ account = "a", role = "admin" }}\n' * 2, "keys.toml: "),
        ("\x00", "keys.toml: "),
    ],
)
def test_a_faulty_file_is_refused_by_file_and_key(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as refused:
        read_authorized_keys(path)
    assert str(path) in str(refused.value)
    assert says in str(refused.value)


def test_a_file_that_others_can_change_is_refused_but_they_may_read_it(tmp_path: Path) -> None:
    assert read_authorized_keys(written(tmp_path, "", 0o644)) == {}
    with pytest.raises(SettingsError, match="found mode 0664, expected 0644"):
        read_authorized_keys(written(tmp_path, "", 0o664))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml: can't be read: No such file"):
        read_authorized_keys(tmp_path / "none.toml")

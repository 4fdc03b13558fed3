"""What shells are told when they ask what could come next; each asks in its own way."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from intendant.cli.main import VERBS, run
from intendant.cli.session import Session
from intendant.client.client import Client
from intendant.client.endpoint import Address
from intendant.errors import Unreachable
from intendant.protocol.records import QueueRecord
from intendant.protocol.step_records import StepInfo
from tests.helpers.fake_executor import Ending, FakeConnection, FakeExecutor

Asked = Callable[..., list[str]]


@pytest.fixture
def executor() -> FakeExecutor:
    """Run 1 has ended, 2 is held, 3 and 4 are queued."""
    executor = FakeExecutor()
    executor.queues.append(QueueRecord(name="gpu", slots=1, paused=True, queued=2, live=0))
    executor.steps += [
        StepInfo(name="collect", state="running"),
        StepInfo(name="count", state="pending"),
    ]
    with Client("ipc:///nowhere", connect=lambda _: FakeConnection(executor)) as client:
        client.submit(["true"], name="build")
        client.submit(["true"], hold=True)
        client.submit(["true"], name="odd, name:\u202e")
        client.submit(["true"])
    executor.end(1, Ending())
    return executor


@pytest.fixture(params=["bash", "zsh", "fish"])
def asked(
    request: pytest.FixtureRequest,
    executor: FakeExecutor,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Asked:
    """What one of the shells is offered for words of which the last is being typed."""

    def ask(*words: str, connection: FakeConnection | None = None) -> list[str]:
        for name, text in _environment(request.param, ["intendant", *words]).items():
            monkeypatch.setenv(name, text)
        session = Session(
            environ={**os.environ, "INTENDANT_ENDPOINT": "ipc:///nowhere"},
            connect=lambda _: connection or FakeConnection(executor),
        )
        with pytest.raises(SystemExit) as ended:
            run([], session)
        out, err = capfd.readouterr()
        assert (ended.value.code, err) == (0, "")
        return _offers(request.param, out)

    return ask


def _environment(shell: str, words: list[str]) -> dict[str, str]:
    """As the function that `…_source` defines says it; bash takes `=` for a word."""
    at = len(words) - 1
    if shell == "bash":
        words = [part for word in words for part in word.replace("=", "\n=\n").splitlines()] + [
            ""
        ] * (not words[-1])
        at = len(words) - 1
    said = "\n".join(words) if shell == "bash" else " ".join(words)
    return {
        "_INTENDANT_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": said,
        "COMP_CWORD": words[-1] if shell == "fish" else str(at),
    }


def _offers(shell: str, out: str) -> list[str]:
    """The words, or `file` and `dir`, which the shell completes by itself."""
    lines = out.splitlines()
    if shell == "zsh":
        kinds, words = lines[::3], [word.replace("\\:", ":") for word in lines[1::3]]
    else:
        parted = [line.partition("\t")[0].partition(",") for line in lines if line]
        kinds, words = [kind for kind, _, _ in parted], [word for _, _, word in parted]
    return [word if kind == "plain" else kind for kind, word in zip(kinds, words, strict=False)]


def test_every_verb(asked: Asked) -> None:
    assert asked("") == list(VERBS)
    assert asked("ex") == ["explain"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["show", ""], "4 3 2 1 last"),
        (["show", "l"], "last"),
        (["wait", ""], "4 3 2 last all"),
        (["wait", "4", ""], "3 2 last all"),
        (["wait", "4,"], "4,3 4,2 4,last 4,all"),
        (["hold", ""], "4 3 last all"),
        (["release", ""], "2 last all"),
        (["cancel", "--reason", "late", ""], "4 3 2 last all"),
        (["retry", ""], "1 last all"),
        (["rerun", "--from", "count", ""], "1 last"),
        (["trial", "ls", ""], "4 3 2 1 last"),
        (["ls", "--before", ""], "4 3 2 1"),
    ],
)
def test_the_runs_that_a_verb_can_be_about(asked: Asked, words: list[str], expected: str) -> None:
    assert asked(*words) == expected.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["submit", "-q", ""], "default gpu"),
        (["ls", "--queue", "g"], "gpu"),
        (["queue", "resume", ""], "default gpu"),
        (["queue", ""], "ls pause resume rm set"),
        (["logs", "4", "--step", "co"], "collect count"),
        (["rerun", "1", "--from", "cou"], "count"),
        (["ls", "--state", "st"], "starting stopping"),
        (["ls", "--be"], "--before"),
    ],
)
def test_queues_steps_and_options(asked: Asked, words: list[str], expected: str) -> None:
    assert asked(*words) == expected.split()


def test_a_value_behind_its_option_and_an_equals_sign(
    asked: Asked, request: pytest.FixtureRequest
) -> None:
    is_bash = "bash" in request.node.callspec.id
    assert asked("ls", "--state=ru") == ["running" if is_bash else "--state=running"]


@pytest.mark.parametrize(
    "words",
    [
        ["submit", "ni"], ["run", ""], ["run", "a.toml", ""], ["submit", "--", "./x"],
        ["submit", "--", "make", ""], ["submit", "--", "make", "-n", ""], ["plan", ""],
        ["backup", ""], ["show", "--key-file", ""],
    ],
)  # fmt: skip
def test_files(asked: Asked, words: list[str]) -> None:
    assert asked(*words) == ["file"]


def test_folders(asked: Asked) -> None:
    assert asked("submit", "--cwd", "") == asked("run", "--state-dir", "") == ["dir"]


def test_programs_behind_two_dashes(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, mode in (("makedo", 0o755), ("makedata", 0o644)):
        (tmp_path / name).touch(mode)
    monkeypatch.setenv("PATH", f"/nowhere:{tmp_path}")
    assert asked("submit", "--", "maked") == ["makedo"]
    assert asked("run", "--", "nothing-like-it") == ["file"]


def test_names_of_variables(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD_TOKEN", "secret")
    assert asked("submit", "--secret-env", "ODD_") == ["ODD_TOKEN"]


class Silent(FakeConnection):
    """A daemon that does not answer in time."""

    def request(self, service: bytes, body: list[bytes], *, timeout_s: float) -> list[bytes]:
        assert timeout_s <= 1
        raise TimeoutError


class Gone(FakeConnection):
    """No daemon."""

    def request(self, service: bytes, body: list[bytes], *, timeout_s: float) -> list[bytes]:
        raise Unreachable("no daemon answers")


@pytest.mark.parametrize("kind", [Silent, Gone])
def test_without_an_answer_only_words_are_offered(asked: Asked, kind: type[FakeConnection]) -> None:
    assert asked("wait", "", connection=kind(FakeExecutor())) == ["last", "all"]
    assert asked("submit", "-q", "", connection=kind(FakeExecutor())) == []


def test_the_daemon_that_is_asked_is_the_one_on_the_command_line(
    executor: FakeExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses: list[str] = []

    def connect(address: Address) -> FakeConnection:
        addresses.append(address.endpoint)
        return FakeConnection(executor)

    words = ["intendant", "wait", "--endpoint", "ipc:///elsewhere", ""]
    for name, text in _environment("zsh", words).items():
        monkeypatch.setenv(name, text)
    with pytest.raises(SystemExit):
        run([], Session(environ=os.environ, connect=connect))
    assert addresses == ["ipc:///elsewhere"]


def test_names_are_shown_beside_ids_and_can_not_harm_a_terminal(
    executor: FakeExecutor, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, text in _environment("fish", ["intendant", "show", ""]).items():
        monkeypatch.setenv(name, text)
    here = {**os.environ, "INTENDANT_ENDPOINT": "ipc:///nowhere"}
    with pytest.raises(SystemExit):
        run([], Session(environ=here, connect=lambda _: FakeConnection(executor)))
    assert "plain,3\todd, name:\\u202e (queued)" in capfd.readouterr().out.splitlines()

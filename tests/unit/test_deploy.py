"""What `deploy/` holds: settings that are complete, units that say what is promised."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from intendant.cli.main import VERBS
from intendant.cli.serve import verb as serve
from intendant.client.resuming import COMES_BACK_S
from intendant.settings import NEEDS_RESTART, QueueSettings, Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
EXAMPLE = (DEPLOY / "settings.toml").read_text(encoding="utf-8")
UNITS = sorted((DEPLOY / "systemd").glob("*/intendant.service"))
START_S = 2
"""What a daemon may take to serve, of the time for which who follows its runs waits for it."""
NO_DEFAULT = {
    "slots", "queues", "on_end", "server_key_file", "authorized_keys",
    "endpoint", "key_file", "server_key",
}  # fmt: skip
"""Shown with an example: the default is nothing, or depends on the machine."""


def shown() -> dict[str, object]:
    """The settings of the example as if they were not commented out."""
    return tomllib.loads("\n".join(sorted(_assignments(), key=lambda text: text.startswith("["))))


def _assignments() -> Iterator[str]:
    blocks = re.findall(r"^#(\[queues\.\w+\]\n#\w+ = .*|[a-z_]+ = .*)$", EXAMPLE, re.MULTILINE)
    return (block.replace("\n#", "\n") for block in blocks)


def test_the_example_shows_every_setting_and_no_other() -> None:
    assert set(shown()) == set(Settings.model_fields), "deploy/settings.toml explains every setting"


def test_what_the_example_shows_is_valid() -> None:
    settings = Settings.model_validate(shown())

    assert settings.queues == {"gpu": QueueSettings(slots=1)}


@pytest.mark.parametrize("key", sorted(Settings.model_fields.keys() - NO_DEFAULT))
def test_the_example_shows_the_default(key: str) -> None:
    assert shown()[key] == getattr(Settings(), key)


@pytest.mark.parametrize("key", sorted(Settings.model_fields))
def test_the_example_says_what_needs_a_restart(key: str) -> None:
    paragraph = next(
        part
        for part in EXAMPLE.split("\n\n")
        if re.search(rf"^#{key}\b|^#\[{key}\.", part, re.MULTILINE)
    )

    needs = key in NEEDS_RESTART and key not in ("endpoint", "key_file", "server_key")
    assert ("(restart)" in paragraph) is needs


def test_the_example_as_it_is_changes_nothing() -> None:
    assert tomllib.loads(EXAMPLE) == {}


def assignments(unit: Path) -> dict[str, str]:
    """What a unit sets, by name; none of ours sets anything twice."""
    found = re.findall(r"^(\w+)=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    assert len({name for name, _ in found}) == len(found)
    return dict(found)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.parent.name)
def test_a_unit_keeps_the_daemon_alive_and_leaves_its_runs_alone(unit: Path) -> None:
    found = assignments(unit)

    assert {
        "Type": "notify", "WatchdogSignal": "SIGKILL", "KillMode": "process", "Delegate": "yes",
        "SuccessExitStatus": "143", "Restart": "on-failure", "OOMPolicy": "continue",
        "RuntimeDirectoryPreserve": "yes",
    }.items() <= found.items()  # fmt: skip
    assert found["WatchdogSec"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.parent.name)
def test_a_daemon_that_fails_again_and_again_is_started_for_ever_and_never_quickly(
    unit: Path,
) -> None:
    found = assignments(unit)

    assert found["StartLimitIntervalSec"] == "0"
    assert 2 <= int(found["RestartSec"]) < COMES_BACK_S - START_S


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.parent.name)
def test_a_unit_starts_the_daemon_with_flags_that_it_has(unit: Path) -> None:
    program, name, *flags = assignments(unit)["ExecStart"].split()

    with serve.make_context(name, flags) as context:
        assert context.params["on_signal"] == "leave"
    assert isinstance(serve, click.Command)
    assert program.endswith("/bin/intendant")


def test_every_command_in_the_instructions_is_one_of_ours() -> None:
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    shell = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).replace("\\\n", "")
    commands = re.findall(r"(?:^|bin/)intendant ([a-z].*)$", shell, re.MULTILINE)

    for verb, *_ in map(str.split, commands):
        assert verb in VERBS
    assert {command.split()[0] for command in commands} >= {"keygen", "backup", "fsck", "submit"}


def test_there_are_units_for_a_server_and_for_a_user() -> None:
    assert [unit.parent.name for unit in UNITS] == ["system", "user"]


def test_each_dependency_is_there_with_a_version_that_is_accepted_and_its_hashes() -> None:
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text(encoding="utf-8"))
    text = (DEPLOY / "requirements.txt").read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    found = (re.match(r"([\w.-]+)==(\S+) .*--hash=sha256:\w{64}", line) for line in lines)
    locked = {match[1]: match[2] for match in found if match}

    assert len(locked) == len(lines)
    for needed in map(Requirement, project["project"]["dependencies"]):
        assert needed.specifier.contains(locked[canonicalize_name(needed.name)]), "make lock"


def test_the_containerfile_copies_what_is_there_and_runs_commands_of_ours() -> None:
    lines = (DEPLOY / "Containerfile").read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    told = {line[0]: line[1] for line in steps}

    copied = [rest.split()[:-1] for step, rest in steps if step == "COPY" and "--" not in rest]
    for source in (name for names in copied for name in names):
        assert (DEPLOY.parent / source).exists()
    _, verb, *flags = json.loads(told["CMD"])
    with serve.make_context(verb, flags) as context:
        assert context.params["on_signal"] == "stop"
    assert json.loads(told["HEALTHCHECK"].removeprefix("CMD "))[1] in VERBS
    assert {"INTENDANT_STATE_DIR", "INTENDANT_RUNTIME_DIR"} <= set(re.findall(r"\w+", told["ENV"]))
    assert told["STOPSIGNAL"] == "SIGTERM"

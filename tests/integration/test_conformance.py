"""The conformance programme: ours passes, a wrong broker fails where it is wrong."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from intendant.broker.config import BrokerConfig, Endpoint
from intendant.broker.conformance.__main__ import all_rules
from intendant.broker.conformance.bench import Pace
from intendant.broker.conformance.rules import Rule, Verdict, judge
from intendant.broker.server import Server
from tests.helpers.bus import broker_alone
from tests.helpers.wrong_broker import FAULTS, Fault, WrongCore

LIST = (Path(__file__).parents[2] / "protocol" / "conformance.md").read_text(encoding="utf-8")
RULES = {rule.name: rule for rule in all_rules()}


def run(endpoint: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "intendant.broker.conformance", "--endpoint", endpoint]
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=100, check=False
    )


def test_our_broker_keeps_every_rule(tmp_path: Path) -> None:
    with broker_alone(f"ipc://{tmp_path}/b.sock", heartbeat_s=1.0):
        done = run(f"ipc://{tmp_path}/b.sock", "--heartbeat", "1", "--strict", "--json")
    verdicts = json.loads(done.stdout)
    assert [verdict for verdict in verdicts if not verdict["kept"]] == []
    assert [verdict["rule"] for verdict in verdicts] == list(RULES)
    assert done.returncode == 0


def test_where_no_broker_is_that_is_said(tmp_path: Path) -> None:
    done = run(f"ipc://{tmp_path}/nobody.sock", "A1")
    assert done.returncode == 69
    assert "no broker answers" in done.stderr


def test_a_rule_that_does_not_exist_is_refused() -> None:
    done = run("tcp://127.0.0.1:1", "Z1")
    assert done.returncode == 2
    assert "found Z1" in done.stderr


def test_the_list_marks_the_rules_that_are_seen_from_outside() -> None:
    marked = re.findall(r"^\| ([A-H]\d+) \| \w+ \| .* \| x \|$", LIST, re.MULTILINE)
    assert set(marked) == {re.sub("[a-f]$", "", name) for name in RULES}


def test_the_list_gives_each_rule_its_level() -> None:
    levels = dict(re.findall(r"^\| ([A-H]\d+) \| (\w+) \|", LIST, re.MULTILINE))
    assert {name: rule.level for name, rule in RULES.items()} == {
        name: levels[re.sub("[a-f]$", "", name)] for name in RULES
    }


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Verdict]:
    """What is said of each wrong broker, by fault and rule; all are tried at once."""
    folder = tmp_path_factory.mktemp("wrong")
    tried = asyncio.run(_try_all(folder))
    return {key: verdict for verdicts in tried for key, verdict in verdicts.items()}


async def _try_all(folder: Path) -> list[dict[tuple[str, str], Verdict]]:
    with ThreadPoolExecutor(len(FAULTS)) as pool:
        asyncio.get_running_loop().set_default_executor(pool)
        return await asyncio.gather(
            *(_try(name, f"ipc://{folder}/{at}.sock") for at, name in enumerate(FAULTS))
        )


async def _try(name: str, uri: str) -> dict[tuple[str, str], Verdict]:
    fault: Fault = FAULTS[name]
    with Server(BrokerConfig((Endpoint(uri),), heartbeat_s=fault.heartbeat_s)) as server:
        server.core = WrongCore(fault)
        server.listen()
        return {
            (name, rule): await asyncio.to_thread(_judge, RULES[rule], uri, fault.heartbeat_s)
            for rule in fault.breaks
        }


def _judge(rule: Rule, uri: str, heartbeat_s: float) -> Verdict:
    """The verdict; a loaded machine has more time to say what it should not."""
    verdicts = (
        judge(rule, uri, Pace(heartbeat_s, patience_s=2.0, quiet_s=quiet_s)) for quiet_s in (1.5, 6)
    )
    return next((verdict for verdict in verdicts if not verdict.is_kept), Verdict(rule))


@pytest.mark.parametrize(
    ("fault", "rule"), [(name, rule) for name, fault in FAULTS.items() for rule in fault.breaks]
)
def test_a_fault_is_found(verdicts: dict[tuple[str, str], Verdict], fault: str, rule: str) -> None:
    assert not verdicts[fault, rule].is_kept


def test_every_rule_has_a_fault_that_breaks_it() -> None:
    assert {rule for fault in FAULTS.values() for rule in fault.breaks} == set(RULES)

"""`python -m intendant.broker.conformance --endpoint URI`: a verdict for each rule."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from intendant.broker.conformance import dialog, framing, heartbeats, registration
from intendant.broker.conformance.bench import Pace
from intendant.broker.conformance.rules import Level, Rule, Verdict, judge
from intendant.broker.sync_client import SyncConnection
from intendant.errors import Unreachable
from intendant.protocol import mdp

SECTIONS = (framing, dialog, registration, heartbeats)
AT_ONCE = 64
DOUBTFUL = 8
GREETING_S = 5.0
BROKEN, UNREACHABLE = 1, 69


def main(arguments: Sequence[str]) -> int:
    """Try the rules; 0 if all that count are kept, 1 if one is not, 69 if nobody answers."""
    parser = _parser()
    options = parser.parse_args(arguments)
    rules = {rule.name: rule for rule in all_rules()}
    if unknown := set(options.rules) - rules.keys():
        parser.error(f"found {', '.join(sorted(unknown))}, expected of: {', '.join(rules)}")
    has_mmi = _greet(options.endpoint)
    if has_mmi is None:
        sys.stderr.write(f"no broker answers at {options.endpoint}\n")
        return UNREACHABLE
    asked = [rules[name] for name in options.rules or rules]
    pace = Pace(options.heartbeat, options.liveness, has_mmi=has_mmi)
    verdicts = judge_all(asked, options.endpoint, pace)
    report = as_json(verdicts) if options.json else as_text(verdicts)
    sys.stdout.write(report + "\n")
    counting = set(Level) if options.strict else {Level.MUST, Level.SHOULD}
    return BROKEN if any(v.rule.level in counting and not v.is_kept for v in verdicts) else 0


def all_rules() -> list[Rule]:
    """Every rule: A1, A2, … A10, B1, …"""
    found = [r for section in SECTIONS for r in vars(section).values() if isinstance(r, Rule)]
    return sorted(found, key=lambda rule: (rule.name[0], int(rule.name[1:].rstrip("abcdef")),
                                           rule.name))  # fmt: skip


def judge_all(rules: Sequence[Rule], endpoint: str, pace: Pace) -> list[Verdict]:
    """A verdict on each rule, many at once: most of the time is spent waiting.

    On a loaded machine this programme or the broker may be late for a rule of time. So the few
    that seem broken are tried again, one by one, and the second verdict counts.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts = list(pool.map(lambda rule: judge(rule, endpoint, pace), rules))
    if sum(not verdict.is_kept for verdict in verdicts) > DOUBTFUL:
        return verdicts
    return [v if v.is_kept else judge(v.rule, endpoint, pace) for v in verdicts]


def as_text(verdicts: Sequence[Verdict]) -> str:
    """A line for each verdict and one for all."""
    lines = []
    for verdict in verdicts:
        rule = verdict.rule
        said = "kept" if verdict.is_kept else "BROKEN"
        lines.append(f"{rule.name:4} {rule.level:6} {said:6}  {rule.text}")
        if not verdict.is_kept:
            lines.append(f"{'':20}{verdict.found}")
    broken = sum(not verdict.is_kept for verdict in verdicts)
    return "\n".join([*lines, f"{len(verdicts)} rules, {broken} broken"])


def as_json(verdicts: Sequence[Verdict]) -> str:
    """An array with an object for each verdict."""
    return json.dumps(
        [
            {
                "rule": verdict.rule.name,
                "level": verdict.rule.level,
                "text": verdict.rule.text,
                "kept": verdict.is_kept,
                "found": verdict.found,
            }
            for verdict in verdicts
        ],
        indent=2,
    )


def _greet(endpoint: str) -> bool | None:
    """Whether the broker there has MMI; `None`: nothing speaks ZeroMQ there."""
    connection = SyncConnection(endpoint)
    try:
        answer = connection.request(b"mmi.service", [b"echo"], timeout_s=GREETING_S)
    except Unreachable:
        return None
    except Exception:  # noqa: BLE001 - a strange answer, or none, is for the rules to judge
        return False
    finally:
        connection.close()
    return answer in ([b"200"], [b"404"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m intendant.broker.conformance",
        description="Check a broker of Majordomo 0.2 (RFC 18) that lets anybody offer services.",
    )
    parser.add_argument("rules", nargs="*", metavar="RULE", help="such as A2; all if left out")
    parser.add_argument("--endpoint", required=True, metavar="URI", help="where the broker listens")
    parser.add_argument("--heartbeat", type=float, default=mdp.HEARTBEAT_S, metavar="SECONDS",
                        help="the broker's interval (%(default)g)")  # fmt: skip
    parser.add_argument("--liveness", type=int, default=mdp.LIVENESS, metavar="N",
                        help="silent intervals until a peer is lost (%(default)d)")  # fmt: skip
    parser.add_argument("--strict", action="store_true",
                        help="fail for a rule of any level")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print an array of objects")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

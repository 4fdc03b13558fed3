"""The list of rules that can be seen from outside, and the verdict on each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from intendant.broker.conformance.bench import Bench, Pace, RuleBroken

Check = Callable[[Bench], None]


class Level(StrEnum):
    """How strongly RFC 18 or RFC 8 demands it; `OWN`: they leave it open, and we decided."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"
    OWN = "own"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its name in `protocol/conformance.md`, what it says, and how it is seen."""

    name: str
    level: Level
    text: str
    check: Check


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a broker keeps to a rule; if not, what was found."""

    rule: Rule
    found: str | None = None

    @property
    def is_kept(self) -> bool:
        """Whether it does."""
        return self.found is None


def rule(name: str, level: Level) -> Callable[[Check], Rule]:
    """Make a check a rule; its docstring is what the rule says."""

    def made(check: Check) -> Rule:
        return Rule(name, level, (check.__doc__ or "").strip().removesuffix("."), check)

    return made


def judge(one: Rule, endpoint: str, pace: Pace) -> Verdict:
    """Try one rule on the broker at `endpoint`."""
    with Bench(endpoint, pace) as bench:
        try:
            one.check(bench)
        except RuleBroken as broken:
            return Verdict(one, str(broken))
    return Verdict(one)

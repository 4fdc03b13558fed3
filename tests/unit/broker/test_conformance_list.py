"""`protocol/conformance.md` against the tests: every rule has one that is named after it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
LIST = (TESTS.parent / "protocol" / "conformance.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([A-H]\d+) \| (MUST|SHOULD|MAY|own) \|", LIST, re.MULTILINE)
RULES = [rule for rule, _ in ROWS]


def rules_with_tests() -> set[str]:
    """The rules that tests are named after: `test_c3_c6e_…` is about C3 and C6."""
    files = [*(TESTS / "unit" / "broker").glob("*.py"), *(TESTS / "integration").glob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    prefixes = re.findall(r"def test_((?:[a-h]\d+[a-f]?_)+)", text)
    return {rule.upper() for prefix in prefixes for rule in re.findall(r"([a-h]\d+)", prefix)}


def test_each_rule_is_listed_once() -> None:
    assert len(set(RULES)) == len(RULES) == 60


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_has_a_test_that_is_named_after_it(rule: str) -> None:
    assert rule in rules_with_tests()


def test_no_test_is_named_after_a_rule_that_is_not_listed() -> None:
    assert rules_with_tests() <= set(RULES)

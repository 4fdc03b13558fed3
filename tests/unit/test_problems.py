from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic import field_validator as validator

from intendant.problems import (
    MAX_SHOWN,
    InWords,
    Key,
    Problem,
    dotted,
    explain_validation_error,
    problems_of,
    shown,
)


class Queue(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    slots: int = Field(default=1, ge=1, le=9)


UNKNOWN = "found an unknown key, expected"
KEYS = "even, grace_s, keys, level, name, queue, queues, verbose"


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    level: Literal["info", "debug"] = "info"
    grace_s: float = Field(default=3.0, gt=0, lt=100, allow_inf_nan=False)
    name: Annotated[str, StringConstraints(min_length=2, max_length=3, pattern="^[a-z]*$")] = "ab"
    verbose: bool = False
    queues: dict[str, Queue] = Field(default_factory=dict)
    queue: Annotated[str, StringConstraints(pattern="^q"), InWords("a text with q first")] = "q"
    keys: list[str] = Field(default_factory=lambda: ["a"], min_length=1, max_length=2)
    even: int = 0

    @validator("even")
    @classmethod
    def _is_even(cls, even: int) -> int:
        if even == 7:
            raise ValueError("seven is right out")
        if even % 2:
            raise ValueError(f"{even} is odd: expected an even number")
        return even


def error_of(data: object) -> ValidationError:
    with pytest.raises(ValidationError) as raised:
        Settings.model_validate(data)
    return raised.value


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (3, "found 3, expected a table"),
        ({"level": "loud"}, "level: found 'loud', expected 'info' or 'debug'"),
        ({"grace_s": 0}, "grace_s: found 0, expected more than 0"),
        ({"grace_s": 100.0}, "grace_s: found 100.0, expected less than 100"),
        ({"grace_s": "3"}, "grace_s: found '3', expected a number"),
        ({"grace_s": float("nan")}, "grace_s: found nan, expected a finite number"),
        ({"name": "a"}, "name: found 'a', expected text of at least 2 characters"),
        ({"name": "abcd"}, "name: found 'abcd', expected text of at most 3 characters"),
        ({"name": "A1"}, "name: found 'A1', expected text that matches ^[a-z]*$"),
        ({"name": 12}, "name: found 12, expected text"),
        ({"queue": "a"}, "queue: found 'a', expected a text with q first"),
        ({"verbose": "yes"}, "verbose: found 'yes', expected true or false"),
        ({"queues": []}, "queues: found [], expected a table"),
        ({"queues": {"cpu": 3}}, "queues.cpu: found 3, expected a table"),
        ({"queues": {"cpu": {"slots": 0}}}, "queues.cpu.slots: found 0, expected at least 1"),
        ({"queues": {"cpu": {"slots": 10}}}, "queues.cpu.slots: found 10, expected at most 9"),
        ({"queues": {"a": {"slots": "2"}}}, "queues.a.slots: found '2', expected a whole number"),
        ({"keys": "a"}, "keys: found 'a', expected a list"),
        ({"keys": []}, "keys: found [], expected a list of at least 1"),
        ({"keys": ["a", "b", "c"]}, "keys: found ['a', 'b', 'c'], expected a list of at most 2"),
        ({"keys": ["a", None]}, "keys[1]: found nothing, expected text"),
        ({"even": 3}, "even: found 3, expected an even number"),
        ({"even": 7}, "even: seven is right out"),
        ({"levle": "info"}, "levle: found an unknown key, expected 'level' perhaps"),
        ({"queues": {"a": {"slts": 1}}}, f"queues.a.slts: {UNKNOWN} 'slots' perhaps"),
        ({"queues": {"a": {"even": 1}}}, f"queues.a.even: {UNKNOWN} one of slots"),
        ({"xyz": 1}, f"xyz: {UNKNOWN} one of {KEYS}"),
    ],
)  # fmt: skip
def test_a_problem_says_what_was_found_and_what_was_expected(data: object, line: str) -> None:
    text = explain_validation_error(error_of(data), source="F.toml", model=Settings)

    assert text == f"F.toml: {line}"


def test_a_missing_value_is_a_problem_of_its_own_key() -> None:
    class Named(BaseModel):
        name: str

    with pytest.raises(ValidationError) as raised:
        Named.model_validate({})

    assert problems_of(raised.value) == [Problem(("name",), "found nothing, expected a value")]


def test_what_the_table_does_not_know_is_said_in_the_words_of_pydantic() -> None:
    class Tree(BaseModel):
        leaf: set[int]

    with pytest.raises(ValidationError) as raised:
        Tree.model_validate({"leaf": 3})

    assert [problem.text for problem in problems_of(raised.value)] == [
        "found 3, expected a valid set"
    ]


def test_several_problems_stand_one_a_line() -> None:
    text = explain_validation_error(error_of({"level": 1, "verbose": 2}), source="F.toml")

    assert text.splitlines() == [
        "F.toml: level: found 1, expected 'info' or 'debug'",
        "F.toml: verbose: found 2, expected true or false",
    ]


def test_a_source_may_depend_on_the_key() -> None:
    def place(key: Key) -> str:
        return "--level" if key == ("level",) else "site.toml"

    text = explain_validation_error(error_of({"level": 1, "verbose": 2}), source=place)

    assert [line.partition(":")[0] for line in text.splitlines()] == ["--level", "site.toml"]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ((), ""),
        (("runs",), "runs"),
        (("runs", 2, "timeout"), "runs[2].timeout"),
        (("runs", 0, "retry", "on", 1), "runs[0].retry.on[1]"),
        ((0, "argv"), "[0].argv"),
    ],
)
def test_a_key_is_shown_dotted(key: Key, text: str) -> None:
    assert dotted(key) == text


def test_a_value_is_shown_on_one_short_line_without_control_characters() -> None:
    text = shown("\x1b[31m\n" + "a" * 1000)

    assert len(text) == MAX_SHOWN
    assert text.isprintable()
    assert text.endswith("…")

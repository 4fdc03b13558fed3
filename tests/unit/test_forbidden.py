"""What no process of the daemon's does with text of others: run it, or make objects of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import intendant

SOURCES = Path(intendant.__file__).parent
PACKAGES = ("broker", "cli", "executor", "governor", "launch", "protocol", "store")
MODULES = {"pickle", "marshal", "shelve", "jsonpickle", "cloudpickle", "dill"}
CALLS = {"eval", "exec", "recv_pyobj", "send_pyobj", "system", "popen"}
WORDS = {*MODULES, *CALLS, "yaml", "shell"}


def files() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (SOURCES / package).rglob("*.py"))


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SOURCES)))
def test_nothing_is_unpickled_evaluated_or_given_to_a_shell(path: Path) -> None:
    assert list(offences(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "text", ["import pickle", "from marshal import loads", "eval(x)", "os.system(x)",
             "f(shell=True)", "yaml.load(x)"],
)  # fmt: skip
def test_offences_are_found(text: str) -> None:
    assert list(offences(text))


def offences(text: str) -> Iterator[str]:
    """Each thing that must not be there, by its line."""
    if text.isascii() and not any(word in text for word in WORDS):
        return  # each of them needs one of the words, which only other alphabets write otherwise
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                found = {name.name.partition(".")[0] for name in names} & MODULES
            case ast.ImportFrom(module=str(module)):
                found = {module.partition(".")[0]} & MODULES
            case ast.Call():
                found = _offences_of(node)
            case _:
                continue
        yield from (f"line {node.lineno}: {word}" for word in found)


def _offences_of(call: ast.Call) -> set[str]:
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    found = {name} & CALLS
    if name == "load" and getattr(getattr(call.func, "value", None), "id", "") == "yaml":
        found.add("yaml.load")
    for keyword in call.keywords:
        if keyword.arg == "shell" and not (
            isinstance(keyword.value, ast.Constant) and keyword.value.value is False
        ):
            found.add("shell")
    return found

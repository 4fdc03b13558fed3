"""State tables drawn as Mermaid diagrams, and the sections of a document that hold them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TypeVar

from intendant.protocol import executor_states, run_states
from intendant.protocol.executor_states import ExecutorState
from intendant.protocol.run_states import RunState

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


def diagrams() -> dict[str, str]:
    """Every state diagram, by the name of its section."""
    return {
        "run": state_diagram(run_states.TRANSITIONS, initial=[RunState.HELD, RunState.QUEUED]),
        "executor": state_diagram(executor_states.TRANSITIONS, initial=[ExecutorState.PRISTINE]),
    }


def state_diagram(table: Mapping[S, Mapping[E, S]], *, initial: Iterable[S]) -> str:
    """One arrow for each pair of states, labelled with the events that lead along it."""
    lines = ["stateDiagram-v2", *(f"    [*] --> {state}" for state in initial)]
    for state, moves in table.items():
        arrows: dict[S, list[E]] = {}
        for event, target in moves.items():
            arrows.setdefault(target, []).append(event)
        lines += [f"    {state} --> {to}: {', '.join(by)}" for to, by in arrows.items()]
    lines += [f"    {state} --> [*]" for state, moves in table.items() if not moves]
    return "\n".join(lines)


def with_diagrams(document: str) -> str:
    """The document with what stands between the markers of each known section drawn anew."""
    for name, diagram in diagrams().items():
        document = _with_section(document, name, f"```mermaid\n{diagram}\n```")
    return document


def _with_section(document: str, name: str, content: str) -> str:
    begin, end = f"<!-- states:{name}:begin -->", f"<!-- states:{name}:end -->"
    section = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    return section.sub(lambda _: f"{begin}\n{content}\n{end}", document)

"""The graph of a pipeline's steps: who comes after whom, and what keeps it from being one; pure.

A step comes after the steps that it names, and after those that its references are about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from typing import Protocol

from intendant.protocol.references import OWN, RESERVED, Reference, references_in

MAX_PROBLEMS = 20
"""How many of the things that are wrong are said at once."""

_OF_THEMSELVES = (
    "found one of the parameters that this is one of, expected a step's or a pipeline's"
)


class Node(Protocol):
    """What the graph needs to know of a step."""

    @property
    def name(self) -> str: ...

    @property
    def after(self) -> Sequence[str]: ...

    def texts(self) -> Iterator[tuple[str, object]]:
        """Each field that may hold references, and what it is called."""
        ...


@dataclass(frozen=True, slots=True)
class Graph:
    """The parents and the children of each step, in order of the steps."""

    parents: Mapping[str, tuple[str, ...]]
    children: Mapping[str, tuple[str, ...]]
    inferred: Mapping[str, tuple[str, ...]]
    """Of the parents those that only a reference names."""
    sequence: Sequence[str]
    """Every step behind its parents."""

    def descendants(self, names: Sequence[str]) -> set[str]:
        """Every step that comes, directly or not, after one of these."""
        found: set[str] = set()
        todo = list(names)
        while todo:
            for child in self.children[todo.pop()]:
                if child not in found:
                    found.add(child)
                    todo.append(child)
        return found

    def order(self) -> Sequence[str]:
        """Every step behind its parents, otherwise as they were given."""
        return self.sequence


def make_graph(steps: Sequence[Node], parameters: Mapping[str, object]) -> Graph:
    """The graph of these steps; `ValueError` names all that is wrong, up to a bound.

    `parameters` are the pipeline's own.
    """
    problems = _Problems()
    known = Counter(step.name for step in steps)
    for name, times in known.items():
        if times > 1:
            problems.add(f"step {name!r}: name: found {times} steps of this name, expected one")
        if name in RESERVED:
            problems.add(f"step {name!r}: name: this one has a meaning of its own in references")
    parents: dict[str, tuple[str, ...]] = {}
    inferred: dict[str, tuple[str, ...]] = {}
    for step in steps:
        named = [name for name in step.after if _is_step(step, name, known, problems)]
        meant = _steps_meant(step, known, parameters, problems)
        parents[step.name] = _each_once([*named, *meant])
        inferred[step.name] = _each_once([name for name in meant if name not in named])
    problems.raise_any()
    children = _reversed(parents)
    return Graph(parents, children, inferred, _in_order(parents, children))


def check_own_parameters(steps: Sequence[Node]) -> None:
    """`ValueError` names the parameters that are made of the same step's; else they are sound."""
    problems = _Problems()
    for step in steps:
        for reference in references_in(dict(step.texts()).get(OWN)):
            if reference.step == OWN:
                problems.add(f"step {step.name!r}: {OWN}: {reference.text}: {_OF_THEMSELVES}")
    problems.raise_any()


def _each_once(names: list[str]) -> tuple[str, ...]:
    return tuple(names) if len(names) <= 1 else tuple(dict.fromkeys(names))


class _Problems:
    """What is wrong, in the order in which it was found."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._more = 0

    def add(self, text: str) -> None:
        if len(self._texts) < MAX_PROBLEMS:
            self._texts.append(text)
        else:
            self._more += 1

    def no_step(self, name: str, known: Counter[str]) -> str:
        """What is said of a name that no step has; the search for one like it takes its time."""
        has_room = len(self._texts) < MAX_PROBLEMS
        near = get_close_matches(name, list(known)[:1000], n=1) if has_room else []
        expected = f"{near[0]!r} perhaps" if near else "the name of a step"
        return f"found {name!r}, expected {expected}"

    def raise_any(self) -> None:
        if self._texts:
            more = [f"and {self._more} more"] if self._more else []
            raise ValueError("; ".join([*self._texts, *more]))


def _is_step(step: Node, name: str, known: Counter[str], problems: _Problems) -> bool:
    if name not in known:
        problems.add(f"step {step.name!r}: after: {problems.no_step(name, known)}")
    elif name == step.name:
        problems.add(f"step {step.name!r}: after: found itself, expected another step")
    else:
        return True
    return False


def _steps_meant(
    step: Node, known: Counter[str], parameters: Mapping[str, object], problems: _Problems
) -> list[str]:
    """The steps that the references of a step are about."""
    found = []
    for field, value in step.texts():
        try:
            for reference in references_in(value):
                if wrong := _wrong(step, reference, known, parameters, problems):
                    problems.add(f"step {step.name!r}: {field}: {reference.text}: {wrong}")
                elif reference.is_of_step:
                    found.append(reference.step)
        except ValueError as error:
            problems.add(f"step {step.name!r}: {field}: {error}")
    return found


def _wrong(
    step: Node,
    reference: Reference,
    known: Counter[str],
    parameters: Mapping[str, object],
    problems: _Problems,
) -> str | None:
    """What is wrong with a well-formed reference, in this step."""
    if reference.step == "pipeline":
        return None if _is_in(parameters, reference) else _no_parameter(reference, parameters)
    if not reference.is_of_step:
        own = dict(step.texts()).get("parameters")
        mine = own if isinstance(own, dict) else {}
        return None if _is_in(mine, reference) else _no_parameter(reference, mine)
    if reference.step == step.name:
        return "found the step itself, expected one before it"
    return None if reference.step in known else problems.no_step(reference.step, known)


def _is_in(parameters: Mapping[str, object], reference: Reference) -> bool:
    return reference.path[0] in parameters or ".".join(reference.path) in parameters


def _no_parameter(reference: Reference, parameters: Mapping[str, object]) -> str:
    known = ", ".join(map(repr, list(parameters)[:10])) or "none"
    return f"found {reference.path[0]!r}, expected a parameter: there is {known}"


def _in_order(
    parents: Mapping[str, Sequence[str]], children: Mapping[str, Sequence[str]]
) -> list[str]:
    """Every step behind its parents; `ValueError` names a circle (Kahn's algorithm)."""
    waits_for = {name: len(several) for name, several in parents.items()}
    order = [name for name, count in waits_for.items() if count == 0]
    for name in order:  # which grows meanwhile
        for child in children[name]:
            waits_for[child] -= 1
            if waits_for[child] == 0:
                order.append(child)
    if len(order) < len(parents):
        raise ValueError(f"steps wait for each other in a circle: {_circle(parents)}")
    return order


def _circle(parents: Mapping[str, Sequence[str]]) -> str:
    """One circle of those that there are, cut where it is long."""
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        shown = circle if len(circle) <= MAX_PROBLEMS else [*circle[:MAX_PROBLEMS], "…", circle[0]]
        return " → ".join(shown)
    raise AssertionError("no circle")


def _reversed(parents: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    children: dict[str, list[str]] = {name: [] for name in parents}
    for name, several in parents.items():
        for parent in several:
            children[parent].append(name)
    return {name: tuple(several) for name, several in children.items()}

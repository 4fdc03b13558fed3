from __future__ import annotations

from enum import StrEnum

from intendant.protocol.diagrams import diagrams, state_diagram, with_diagrams
from tests.unit.protocol.test_executor_states import MOVES as EXECUTOR_MOVES
from tests.unit.protocol.test_run_states import MOVES as RUN_MOVES


class Lamp(StrEnum):
    OFF = "off"
    ON = "on"
    BROKEN = "broken"


class Act(StrEnum):
    PRESS = "press"
    VOICE = "voice"
    DROP = "drop"


TABLE: dict[Lamp, dict[Act, Lamp]] = {
    Lamp.OFF: {Act.PRESS: Lamp.ON, Act.DROP: Lamp.BROKEN, Act.VOICE: Lamp.ON},
    Lamp.ON: {Act.PRESS: Lamp.OFF, Act.VOICE: Lamp.ON},
    Lamp.BROKEN: {},
}


def test_a_table_becomes_one_arrow_for_each_pair_of_states() -> None:
    assert state_diagram(TABLE, initial=[Lamp.OFF]).splitlines() == [
        "stateDiagram-v2",
        "    [*] --> off",
        "    off --> on: press, voice",
        "    off --> broken: drop",
        "    on --> off: press",
        "    on --> on: voice",
        "    broken --> [*]",
    ]


def moves_drawn(diagram: str) -> dict[tuple[str, str], str]:
    """What a reader of the diagram learns: the next state for each state and event."""
    moves = {}
    for line in diagram.splitlines():
        arrow, labelled, events = line.strip().partition(": ")
        if labelled:
            state, target = arrow.split(" --> ")
            moves.update({(state, event): target for event in events.split(", ")})
    return moves


def test_the_diagrams_show_every_move_and_no_other() -> None:
    drawn = {name: moves_drawn(diagram) for name, diagram in diagrams().items()}

    assert drawn == {"run": RUN_MOVES, "executor": EXECUTOR_MOVES}


def test_only_what_stands_between_the_markers_is_drawn_anew() -> None:
    document = "before\n<!-- states:run:begin -->\nold\n<!-- states:run:end -->\nafter\n"

    drawn = with_diagrams(document)

    assert drawn.startswith("before\n<!-- states:run:begin -->\n```mermaid\nstateDiagram-v2\n")
    assert drawn.endswith("    ended --> [*]\n```\n<!-- states:run:end -->\nafter\n")
    assert "old" not in drawn
    assert with_diagrams(drawn) == drawn


def test_a_document_without_markers_stays_as_it_is() -> None:
    assert with_diagrams("# States\n\nNone.\n") == "# States\n\nNone.\n"

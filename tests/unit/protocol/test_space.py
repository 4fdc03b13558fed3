"""Parameters that a person chose, against the space of a study."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from intendant.protocol.space import Parameter, completed

SPACE: dict[str, Parameter] = TypeAdapter(dict[str, Parameter]).validate_python(
    {
        "lr": {"type": "uniform", "low": 0, "high": 1},
        "kind": {"type": "choice", "values": ["sgd", "adam"]},
        "momentum": {"type": "uniform", "low": 0, "high": 1, "when": {"kind": "sgd"}},
        "seed": {"type": "fixed", "value": 7},
    }
)


def test_what_is_fixed_is_filled_in() -> None:
    given: Any = {"lr": 0.5, "kind": "adam"}
    assert completed(SPACE, given) == {"lr": 0.5, "kind": "adam", "seed": 7}


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"kind": "adam"}, "lr is missing"),
        ({"lr": 2, "kind": "adam"}, "lr is 2, which is no number from 0 to 1"),
        ({"lr": float("nan"), "kind": "adam"}, "lr is nan, which is no number"),
        ({"lr": True, "kind": "adam"}, "lr is True, which is no number"),
        ({"lr": 0.5, "kind": "lion"}, "kind is never 'lion'"),
        ({"lr": 0.5, "kind": "adam", "momentum": 0.9}, "momentum does not exist beside"),
        ({"lr": 0.5, "kind": "sgd"}, "momentum is missing"),
        ({"lr": 0.5, "kind": "adam", "size": 3}, "'size' is no parameter of the study"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        completed(SPACE, given)

"""The parameters of a study written in Python.

    from intendant import Study, space

    Study(fit, metric="loss", trials=50, space={
        "rate": space.loguniform(1e-5, 0.1),
        "layers": space.integer(1, 4),
        "kind": ["adam", "sgd"],                                # a choice
        "momentum": space.uniform(0, 0.99, when={"kind": "sgd"}),
        "epochs": 20,                                           # the same in every trial
    })

`when` names the values that other parameters must have for this one to exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

__all__ = ["choice", "grid", "integer", "loguniform", "uniform"]

Parameter: TypeAlias = dict[str, object]
When: TypeAlias = Mapping[str, object] | None


def uniform(low: float, high: float, *, step: float | None = None, when: When = None) -> Parameter:
    """A real number, each as likely as the other; with `step` one of a ladder."""
    return _said("uniform", low=low, high=high, step=step, when=when)


def loguniform(low: float, high: float, *, when: When = None) -> Parameter:
    """A real number above 0, each order of magnitude as likely as the other."""
    return _said("loguniform", low=low, high=high, when=when)


def integer(
    low: int, high: int, *, step: int | None = None, log: bool | None = None, when: When = None
) -> Parameter:
    """A whole number, both ends included; `log`: small ones as likely as large ones."""
    return _said("integer", low=low, high=high, step=step, log=log, when=when)


def choice(values: Sequence[object], *, when: When = None) -> Parameter:
    """One of some values; without `when` a list says the same."""
    return _said("choice", values=list(values), when=when)


def grid(values: Sequence[object], *, when: When = None) -> Parameter:
    """Each of some values, in this order; for the search `grid`."""
    return _said("grid", values=list(values), when=when)


def _said(kind: str, **fields: object) -> Parameter:
    return {"type": kind, **{name: value for name, value in fields.items() if value is not None}}

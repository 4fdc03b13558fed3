"""What of a run's spec is shown to whom.

A variable whose name says that it is secret (`*_TOKEN`, `*_PASSWORD`, `*_KEY` and the like) is
shown to nobody, like those that were marked so. Who neither owns the run nor operates the daemon
sees no environment at all, and of the arguments none that is marked in `secret_args`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intendant.protocol.specs import RunSpec, Submission

HIDDEN = "***"

_SECRET_NAME = re.compile(
    r"(?:TOKEN|PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIALS?|(?:^|_|API)KEY)$", re.IGNORECASE
)


def looks_secret(name: str) -> bool:
    """Whether a variable of this name is kept secret without having been marked."""
    return _SECRET_NAME.search(name) is not None


def with_secrets_apart(submission: Submission) -> Submission:
    """The submission with those variables among its secrets that look so."""
    workload = submission.spec.workload
    secret = {name: text for name, text in workload.env.items() if looks_secret(name)}
    if not secret:
        return submission
    env = {name: text for name, text in workload.env.items() if name not in secret}
    spec = submission.spec.model_copy(update={"workload": workload.model_copy(update={"env": env})})
    secrets = submission.secrets.model_copy(update={"env": {**secret, **submission.secrets.env}})
    return submission.model_copy(update={"spec": spec, "secrets": secrets})


def for_owner(spec: RunSpec) -> RunSpec:
    """The spec as its owner sees it again."""
    return _changed(spec, _hide_values)


def for_others(spec: RunSpec) -> RunSpec:
    """The spec as those see it whom the run is none of the business of."""
    return _changed(spec, _hide_all)


def hide_secrets(table: dict[str, Any]) -> dict[str, Any]:
    """The same table of a spec, which keeps no value that looks secret and no marked argument."""
    for each in _tables(table):
        _hide_values(each)
        _hide_marked(each)
    return table


def hide_arguments(arguments: object, marked: object) -> None:
    """Those at these positions or of these names; what is no such thing is a user's own data."""
    for at in marked if isinstance(marked, list) else ():
        match arguments, at:
            case list(), int() if 0 <= at < len(arguments):
                arguments[at] = HIDDEN
            case dict(), str() if at in arguments:
                arguments[at] = HIDDEN
            case _:
                pass


def _changed(spec: RunSpec, change: Callable[[dict[str, Any]], None]) -> RunSpec:
    """The spec with every table of it that has an environment changed, steps and all."""
    found = spec.model_dump(mode="json", exclude_defaults=True)
    tables = [table for table in _tables(found) if isinstance(table.get("env"), dict)
              or table.get("secret_args") or _marked_in_step(table)]  # fmt: skip
    if not tables:
        return spec
    for table in tables:
        change(table)
    return spec.model_validate(found)


def _tables(value: object) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(table for inner in value.values() for table in _tables(inner))]
    if isinstance(value, list):
        return [table for inner in value for table in _tables(inner)]
    return []


def _hide_values(table: dict[str, Any]) -> None:
    env = table.get("env")
    if isinstance(env, dict):
        for name in filter(looks_secret, env):
            env[name] = HIDDEN


def _hide_all(table: dict[str, Any]) -> None:
    table.pop("env", None)
    _hide_marked(table)


def _hide_marked(table: dict[str, Any]) -> None:
    """Arguments that are marked: a workload's own, and those among the parameters of its step."""
    hide_arguments(table.get("argv", table.get("args")), table.get("secret_args"))
    hide_arguments(table.get("parameters"), _marked_in_step(table))


def _marked_in_step(table: dict[str, Any]) -> object:
    workload = table.get("workload")
    return workload.get("secret_args") if isinstance(workload, dict) else None

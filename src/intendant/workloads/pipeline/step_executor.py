"""Carrying out one step, the same way in every model of execution, by five hooks:

    set_up_logging   where what it prints goes
    refresh_inputs   its references replaced by what the steps before have left
    make_step        the function to call, or the command to execute
    run_step         doing it
    save_outputs     what it left, and how it came about

A class of the user's own with any of them written anew can take its place
(`step_executor = "module:Class"`). This module imports little: it is loaded before every fork.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from intendant import this_step
from intendant.errors import InvalidRequest, WorkloadNotStarted
from intendant.protocol.references import ReferencesTooLarge, expand, expand_to_text
from intendant.workloads.arguments import bind
from intendant.workloads.calling import (
    Refusal,
    encoded,
    find_function,
    opened_call,
    why_it_failed,
)
from intendant.workloads.pipeline.inputs import InputMissing, Inputs
from intendant.workloads.pipeline.leavings import Leavings
from intendant.workloads.pipeline.step_folder import make_step_folder, open_log
from intendant.workloads.results import MAX_RESULT_BYTES, reason

Order: TypeAlias = Mapping[str, Any]
"""One attempt at a step, as `workloads.pipeline.orders` makes it."""

MAX_REPORTED_BYTES = 1024
"""Outputs that need no file."""
MAX_PARAMETERS = 2 * 1024 * 1024
"""Characters of all parameters that a report holds."""


class StepExecutor:
    """Carries out one attempt at a step; `execute` is all of it."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.workload: dict[str, Any] = dict(order["workload"])
        self.parameters: dict[str, Any] = {}
        self.artifacts: dict[str, str] = {}
        self.leavings = Leavings()
        self.exit_status: int | None = None

    def execute(self) -> dict[str, Any]:
        """Do it; how it ended, as the report says it.

        Where the step's function forks, the copy comes out of it too, and saves nothing.
        """
        mine = os.getpid()
        try:
            self.set_up_logging()
            self.refresh_inputs()
            step = self.make_step()
            with this_step.being(self.order["step"], lambda: self.folder, self.leavings):
                value = self.run_step(step)
            saved = self.save_outputs(value) if os.getpid() == mine else {}
        except BaseException as error:  # noqa: BLE001  the edge around the user's code
            return self._report(**explained(error))
        return self._report(outcome="succeeded", **saved)

    @cached_property
    def folder(self) -> Path:
        """The attempt's own; there from the moment that somebody asks for it."""
        folder = Path(self.order["folder"])
        make_step_folder(self.order["folder"])
        return folder

    # --- the hooks -------------------------------------------------------------------------------

    def set_up_logging(self) -> None:
        """Send what is printed, by whatever it starts too, to logs in the step's folder.

        An inline step's goes there by way of the pipeline's process, once there is anything.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        if self.order.get("output"):
            for number, pipe in enumerate(self.order["output"], start=1):
                os.dup2(pipe, number)
            return
        for number, name in ((1, "stdout"), (2, "stderr")):
            descriptor = open_log(self.order["folder"], name)
            os.dup2(descriptor, number)
            os.close(descriptor)

    def refresh_inputs(self) -> None:
        """Replace every reference by what it stands for now."""
        inputs = Inputs(self.order["pipeline"], self.order["left"])
        parameters = expand(self.order["parameters"], inputs.look_up)
        assert isinstance(parameters, dict)  # noqa: S101  a table stays one
        self.parameters = parameters
        look_up = inputs.with_own(parameters).look_up
        for field in {"argv", "env", "cwd", "stdin"} & self.workload.keys():
            self.workload[field] = _texts(self.workload[field], look_up)
        self.workload["args"] = expand(self.workload.get("args", []), look_up)
        artifacts = self.order["artifacts"]
        self.artifacts = {name: expand_to_text(artifacts[name], look_up) for name in artifacts}

    def make_step(self) -> Callable[[], object]:
        """The step as something to call."""
        if self.workload["kind"] == "command":
            return self._command
        return self._call()

    def run_step(self, step: Callable[[], object]) -> object:
        """Do it; what it returns is its outputs."""
        value = step()
        if isinstance(value, Awaitable):
            import asyncio

            value = asyncio.run(_awaited(value))
        return value

    def save_outputs(self, value: object) -> dict[str, Any]:
        """Keep what it left; the report's fields about it."""
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
        outputs = self._keep(value)
        artifacts = self.leavings.collect(self.artifacts, folder=self._cwd())
        return {**outputs, "artifacts": artifacts, "models": self.leavings.models}

    # --- what they consist of --------------------------------------------------------------------

    def _call(self) -> Callable[[], object]:
        for name, value in self._variables().items():
            os.environ[name] = value
        if self.order["pickle"] is not None:
            return self._pickled_call()
        folder = self._cwd()
        if folder not in sys.path:
            sys.path.insert(0, folder)
        function = find_function(self.workload["target"])
        given = self.workload["args"]
        if isinstance(given, dict) or not given:
            given = {**(given or {}), **self.parameters}
        elif self.parameters:
            raise Refusal(reason("arguments", "by position and as parameters: expected one"))
        try:
            args, kwargs = bind(function, given) if given else ((), {})
        except InvalidRequest as error:
            raise Refusal(reason("arguments", str(error))) from error
        return lambda: function(*args, **kwargs)

    def _pickled_call(self) -> Callable[[], object]:
        """The function that travelled, with the constants that JSON does not know."""
        try:
            call = opened_call(self.order["pickle"])
        except InvalidRequest as error:
            raise Refusal(reason("python", str(error))) from error
        return lambda: call.function(*call.args, **{**call.kwargs, **self.parameters})

    def _command(self) -> object:
        """Execute the command and wait for it; its outputs are what it put into a file."""
        try:
            process = self._started()
        except OSError as error:
            from intendant.workloads.spawning import not_started

            raise not_started(error, self.workload["argv"][0], Path(self._cwd())) from error
        self.exit_status = _wait(process)
        if self.exit_status != 0:
            raise CommandFailed(self.exit_status)
        return None

    def _started(self) -> subprocess.Popen[bytes]:
        make_step_folder(self.order["folder"])  # for what it puts into its outputs
        cwd = self._cwd()
        stdin = self.workload.get("stdin") or os.devnull
        with Path(cwd, stdin).open("rb") as file:
            return subprocess.Popen(  # noqa: S603  no shell is the point
                self.workload["argv"],
                cwd=cwd,
                env={**os.environ, **self._variables()},
                stdin=file,
                umask=-1 if self.workload.get("umask") is None else self.workload["umask"],
            )

    def _variables(self) -> dict[str, str]:
        folder = self.order["folder"]
        return {
            **self.workload.get("env", {}),
            "INTENDANT_STEP": self.order["step"],
            "INTENDANT_STEP_DIR": folder,
            "INTENDANT_OUTPUTS": f"{folder}/outputs.json",
        }

    def _cwd(self) -> str:
        own = self.workload.get("cwd")
        return str(Path(self.order["cwd"], own)) if own else self.order["cwd"]

    def _keep(self, value: object) -> dict[str, Any]:
        """Put the outputs into their file; the report's fields about them.

        Small ones are in the report itself, for a file takes longer; but what is cached is in one,
        of which the cache knows the digest.
        """
        encoding: str = self.workload.get("result", "json")
        if self.workload["kind"] == "command":
            return {"encoding": _check_outputs(self.folder / "outputs.json")}
        if value is None:
            return {}
        data = encoded(value, "pickle" if encoding == "pickle" else "json")
        if len(data) > MAX_RESULT_BYTES:
            raise Refusal(
                reason("result", f"{len(data)} bytes, at most {MAX_RESULT_BYTES} are kept")
            )
        is_small = encoding == "json" and len(data) <= MAX_REPORTED_BYTES
        if is_small and not self.order["cache"]:
            return {"encoding": encoding, "outputs": data.decode()}
        (self.folder / f"outputs.{encoding}").write_bytes(data)
        return {"encoding": encoding}

    def _report(self, **fields: Any) -> dict[str, Any]:
        status = self.exit_status
        return {
            "exit_code": status if status is not None and status >= 0 else None,
            "signal": -status if status is not None and status < 0 else None,
            "parameters": _plain(self.parameters),
            **fields,
        }


class CommandFailed(Exception):
    """The command's exit status was not 0."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def explained(error: BaseException) -> dict[str, Any]:
    """The report's fields about what went wrong; an exception of the user's is printed."""
    match error:
        case CommandFailed(status=status) if status < 0:
            return {"outcome": "failed", "reason": f"signal: {_signal_name(-status)}"}
        case CommandFailed(status=status):
            return {"outcome": "failed", "reason": f"exit_code: {status}"}
        case WorkloadNotStarted():
            fields = {"outcome": "failed", "reason": error.reason}
            return fields if error.exit_code is None else {**fields, "exit_code": error.exit_code}
        case this_step.StepSkipped():
            text = str(error)
            return {"outcome": "skipped", "reason": reason("step", text) if text else "step"}
        case InputMissing() | ReferencesTooLarge():
            return {"outcome": "failed", "reason": reason("reference", str(error))}
        case SystemExit(code=None | 0):
            return {"outcome": "succeeded"}
        case SystemExit():
            return _exited(error.code)
        case _:
            return {"outcome": "failed", "reason": why_it_failed(error)}


def _exited(code: object) -> dict[str, Any]:
    """`sys.exit(3)`, or `sys.exit("some text")`."""
    if not isinstance(code, int):
        sys.stderr.write(f"{code}\n")
        code = 1
    return {"outcome": "failed", "reason": f"exit_code: {code}", "exit_code": code & 0xFF}


def _texts(value: object, look_up: Callable[..., object]) -> Any:
    """A text, a list or a table of texts with references replaced, each still a text."""
    match value:
        case str():
            return expand_to_text(value, look_up)
        case list():
            return [expand_to_text(each, look_up) for each in value]
        case dict():
            return {key: expand_to_text(each, look_up) for key, each in value.items()}
        case _:
            return value


def _wait(process: subprocess.Popen[bytes]) -> int:
    """The command's status. SIGTERM is its own: it is in the same group."""
    signal.signal(signal.SIGTERM, lambda *_: None)
    return process.wait()


def _check_outputs(path: Path) -> str | None:
    """What a command put into its file of outputs must be a JSON object; none need be there."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_RESULT_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(data) > MAX_RESULT_BYTES:
        raise Refusal(reason("outputs", f"more than {MAX_RESULT_BYTES} bytes"))
    try:
        outputs = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Refusal(reason("outputs", f"found no JSON: {error}")) from error
    if not isinstance(outputs, dict):
        raise Refusal(reason("outputs", f"found {type(outputs).__name__}, expected an object"))
    return "json"


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as the report can hold them: a value without JSON as what `repr` says of it.

    One that is too large for a report is left out: whoever refers to it hears that it is not there.
    """
    plain = {}
    room = MAX_PARAMETERS
    for name, value in parameters.items():
        if (size := extent(value, up_to=room)) > room:
            continue
        room -= size
        try:
            plain[name] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError, RecursionError):
            plain[name] = repr(value)[:1000]
    return plain


def extent(value: object, *, up_to: int) -> int:
    """About how many characters a value takes as JSON; counting ends beyond `up_to`."""
    total = 0
    todo = [value]
    while todo and total <= up_to:
        match todo.pop():
            case str() as text:
                total += len(text) + 3
            case list() | tuple() as items:
                total += 2
                todo += items
            case dict() as table:
                total += 2
                todo += [*table, *table.values()]
            case _:
                total += 8
    return total


async def _awaited(result: Any) -> object:
    return await result


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no names of their own
        return str(number)

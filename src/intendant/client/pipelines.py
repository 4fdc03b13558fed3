"""Pipelines written in Python: functions as steps, one step's result as another's parameter.

    @step(retry=2)
    def parse(files: list[str]) -> int: ...

    with Pipeline("census", processes=4) as pipeline:
        files = collect("/usr/lib/python3")     # nothing runs yet: a promise of its result
        parse(files["json"])
    pipeline.run()                              # under a private daemon; or client.submit(pipeline)

Inside the block, or through `Pipeline.add`, calling a step adds it to the pipeline and gives a
`Promise`; anywhere else it just calls the function. A promise as an argument, also inside a list or
a dictionary, makes a dependency. Functions travel as pickles and so do their results, so what one
returns is what another gets; constants that JSON knows stay visible as parameters of the step.
"""

from __future__ import annotations

import contextvars
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, update_wrapper
from pathlib import Path
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    ParamSpec,
    Self,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from intendant.errors import InvalidRequest

if TYPE_CHECKING:
    from intendant.client.pipeline_results import PipelineResults

P = ParamSpec("P")
T = TypeVar("T")

MAX_TEXT = 2 * 1024 * 1024
"""Characters of one argument; a whole pipeline has no more bytes."""

_current: contextvars.ContextVar[Pipeline | None] = contextvars.ContextVar("pipeline", default=None)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]{0,99}")


class StepOptions(TypedDict, total=False):
    """What can be said about any step; what is left out has its default."""

    name: str
    after: Sequence[str | Promise]
    execution: str
    fresh: bool
    queue: str
    priority: int
    timeout_s: float
    grace_s: float
    retry: int | Mapping[str, object]  # attempts after the first, or the whole policy
    result: str
    artifacts: Mapping[str, str]
    env: Mapping[str, str]
    cwd: str
    cache: bool
    cache_files: Sequence[str]
    reload: bool
    continue_on_fail: bool
    continue_on_abort: bool
    skip_children_on_fail: bool
    skip_children_on_abort: bool


class Step(Generic[P, T]):
    """A function that can be a step."""

    def __init__(self, function: Callable[P, T], options: StepOptions | None = None) -> None:
        update_wrapper(self, function)
        self.function = function
        self.settings: StepOptions = options or {}

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        pipeline = _current.get()
        if pipeline is None:
            return self.function(*args, **kwargs)
        return cast(T, pipeline.add(self, *args, **kwargs))

    def options(self, **options: Unpack[StepOptions]) -> Step[P, T]:
        """The same step with other options: `parse.options(name="parse-json")(files)`."""
        return Step(self.function, cast(StepOptions, {**self.settings, **options}))

    def __reduce__(self) -> str | tuple[Any, ...]:
        """By its name where that finds it, so that the step's process imports the module."""
        if _is_importable(self):
            return self.function.__qualname__
        return Step, (self.function, self.settings)


@overload
def step(function: Callable[P, T], /) -> Step[P, T]: ...


@overload
def step(**options: Unpack[StepOptions]) -> Callable[[Callable[P, T]], Step[P, T]]: ...


def step(function: Any = None, /, **options: Any) -> Any:
    """Make a function a step: `@step`, or `@step(retry=2, timeout_s=60)`."""
    made = partial(Step, options=cast(StepOptions, options))
    return made if function is None else made(function)


@dataclass(frozen=True, slots=True)
class Promise:
    """What a step will have left; `promise["x"]` is a part of it, `str(promise)` its reference."""

    step: str
    path: tuple[str, ...] = ("outputs",)

    def __getitem__(self, key: str | int) -> Promise:
        return replace(self, path=(*self.path, str(key)))

    def __iter__(self) -> Any:
        raise InvalidRequest(f"what step {self.step!r} will have returned can't be looped over yet")

    def __str__(self) -> str:
        escaped = (part.replace(".", "\\.") for part in (self.step, *self.path))
        text = ".".join(escaped)
        if "}" in text:
            raise InvalidRequest(f"a reference can't hold a brace: {text}")
        return f"${{{text}}}"

    @property
    def id(self) -> Promise:
        """What identifies the step."""
        return Promise(self.step, ("id",))

    def parameter(self, name: str) -> Promise:
        """The value that a parameter of the step had."""
        return Promise(self.step, ("parameters", name))

    def artifact(self, name: str, about: str = "path") -> Promise:
        """The path of a file that the step left, or its `url`, `size` or `sha256`."""
        return Promise(self.step, ("artifacts", name, about))

    def model(self, index: int = -1, about: str = "url", *, side: str = "output") -> Promise:
        """The `url`, `name`, `id`, … of a model that the step named."""
        return Promise(self.step, ("models", side, str(index), about))


@dataclass(slots=True)
class Pipeline:
    """A graph of steps to be carried out as one run. Its steps run in no order but that of need."""

    name: str
    processes: int | None = None
    execution: str | None = None
    fail_fast: bool | None = None
    force: bool | None = None
    cache_dir: str | Path | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    cwd: str | Path | None = None
    env: Mapping[str, str] | None = None
    on_step_created: str | None = None
    on_step_completed: str | None = None
    on_step_status: str | None = None
    step_executor: str | None = None
    graph_executor: str | None = None
    timeout_s: float | None = None
    _steps: dict[str, dict[str, object]] = field(default_factory=dict, init=False, repr=False)
    _calls: dict[str, bytes] = field(default_factory=dict, init=False, repr=False)
    _tokens: list[contextvars.Token[Pipeline | None]] = field(
        default_factory=list, init=False, repr=False
    )

    def __enter__(self) -> Self:
        self._tokens.append(_current.set(self))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _current.reset(self._tokens.pop())

    def add(self, what: Callable[..., object], /, *args: object, **kwargs: object) -> Promise:
        """Add a call of a function, or of a step, with these arguments; what it will leave."""
        made = what if isinstance(what, Step) else Step(what)
        name = self._free_name(made.settings.get("name"), made.function.__name__)
        given = _by_name(made.function, args, kwargs, step=name)
        parameters = {key: _shown(name, key, value) for key, value in given.items()}
        hidden = {key: value for key, value in given.items() if parameters[key] is _HIDDEN}
        from intendant.client.call import sha256_of
        from intendant.client.pickles import pack_call

        for key, value in hidden.items():
            if _holds_promise(value):
                raise InvalidRequest(
                    f"step {name!r}: parameter {key!r} holds a promise beside what JSON does not "
                    "know: pass them as two parameters"
                )
        self._calls[name] = pack_call(made, (), hidden)
        workload: dict[str, object] = {
            "kind": "call",
            "pickle_sha256": sha256_of(self._calls[name]),
            "result": made.settings.get("result", "pickle"),
        }
        shown = {key: value for key, value in parameters.items() if value is not _HIDDEN}
        fields: dict[str, object] = {"parameters": shown}
        if made.settings.get("cache"):
            fields["code_sha256"] = _module_sha256(made.function)
        return self._add(name, workload, made.settings, _said(fields))

    def command(self, argv: Sequence[str | Promise], **options: Unpack[StepOptions]) -> Promise:
        """Add a command; promises among its arguments, or in their text, are replaced."""
        name = self._free_name(options.get("name"), Path(str(argv[0])).stem)
        try:
            texts = [_bounded(str(argument)) for argument in argv]
        except ValueError as error:
            raise InvalidRequest(f"step {name!r}: argv: {error}") from None
        return self._add(name, {"kind": "command", "argv": texts}, options, {})

    def parameter(self, name: str) -> Promise:
        """A parameter of the pipeline itself, as a step's argument."""
        if name not in self.parameters:
            raise InvalidRequest(f"found {name!r}, expected a parameter of the pipeline")
        return Promise("pipeline", (name,))

    def verify(self) -> None:
        """Check it as a whole, as the daemon will: `InvalidRequest` says what is wrong."""
        from pydantic import ValidationError

        from intendant.problems import explain_validation_error
        from intendant.protocol.fields import NEW
        from intendant.protocol.specs import RunSpec

        try:
            RunSpec.model_validate(self.spec(), context=NEW)
        except ValidationError as error:
            raise InvalidRequest(explain_validation_error(error, source=self.name)) from None

    def spec(self) -> dict[str, object]:
        """The run spec that holds this pipeline."""
        from intendant.client.call import sha256_of

        if not self._steps:
            raise InvalidRequest(f"pipeline {self.name!r}: found no step, expected one at least")
        workload = {
            "kind": "pipeline",
            "steps": list(self._steps.values()),
            "parameters": dict(self.parameters) or None,
            "pickle_sha256": sha256_of(self._pickled()) if self._calls else None,
            "cwd": None if self.cwd is None else str(self.cwd),
            "cache_dir": None if self.cache_dir is None else str(self.cache_dir),
            "env": dict(self.env) if self.env else None,
            **{name: getattr(self, name) for name in _WORKLOAD_FIELDS},
        }
        fields = {"name": self.name, "timeout_s": self.timeout_s, "workload": _said(workload)}
        return _said(fields)

    @property
    def pickle(self) -> str | None:
        """The functions as they travel, if there are any."""
        from intendant.client.call import encode_pickle

        return encode_pickle(self._pickled()) if self._calls else None

    def run(
        self,
        *,
        state_dir: str | Path | None = None,
        slots: int | None = None,
        resume: bool = False,
    ) -> PipelineResults:
        """Carry it out under a private daemon; what the steps returned.

        `RunFailed` if it did not succeed, `InvalidRequest`, before any process starts, if something
        is wrong with it. The state is kept where `state_dir` is given. With `resume` it goes on
        from the newest pipeline of this name there, if there is one, however that ended: steps
        that have succeeded and are still asked for the same stay done.
        """
        from intendant.client.pipeline_results import run_embedded

        self.verify()
        if resume and state_dir is None:
            raise InvalidRequest("found resume, expected state_dir with it")
        folder = None if state_dir is None else Path(state_dir)
        return run_embedded(self, folder, slots=slots, resume=resume)

    def _add(
        self,
        name: str,
        workload: dict[str, object],
        options: StepOptions,
        fields: dict[str, object],
    ) -> Promise:
        said = {key: value for key, value in options.items() if key in _STEP_FIELDS}
        if "retry" in options and isinstance(options["retry"], int):
            said["retry"] = {"attempts": options["retry"]}
        if "after" in options:
            said["after"] = [each.step if isinstance(each, Promise) else each
                             for each in options["after"]]  # fmt: skip
        for key in ("env", "cwd"):
            if key in options:
                workload[key] = cast(Mapping[str, object], options)[key]
        self._steps[name] = {"name": name, "workload": workload, **said, **fields}
        return Promise(name)

    def _free_name(self, wanted: str | None, function: str) -> str:
        """The name that was asked for, which must be free; or the function's, numbered if taken."""
        if wanted is not None:
            if wanted in self._steps:
                raise InvalidRequest(f"step {wanted!r}: found a step of this name already")
            return wanted
        base = function if _NAME.fullmatch(function) else "step"
        candidates = (base if number == 1 else f"{base}-{number}" for number in _NUMBERS)
        return next(name for name in candidates if name not in self._steps)

    def _pickled(self) -> bytes:
        from intendant.client.pickles import pack_calls

        return pack_calls(self._calls)


_NUMBERS = range(1, 1_000_000)
_WORKLOAD_FIELDS = (
    "execution", "processes", "fail_fast", "force", "on_step_created", "on_step_completed",
    "on_step_status", "step_executor", "graph_executor",
)  # fmt: skip
_STEP_FIELDS = frozenset(StepOptions.__annotations__) - {"name", "after", "result", "env", "cwd"}
_HIDDEN = object()
"""Stands for a constant that JSON does not know, which travels in the pickle."""


def _by_name(
    function: Callable[..., object],
    args: Sequence[object],
    kwargs: Mapping[str, object],
    *,
    step: str,
) -> dict[str, object]:
    """The arguments by name; `InvalidRequest` names the step."""
    try:
        signature = inspect.signature(function)
        bound = signature.bind(*args, **kwargs)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"step {step!r}: {error}") from None
    named: dict[str, object] = {}
    for name, value in bound.arguments.items():
        match signature.parameters[name].kind:
            case inspect.Parameter.VAR_KEYWORD:
                named.update(value)
            case inspect.Parameter.POSITIONAL_ONLY | inspect.Parameter.VAR_POSITIONAL:
                raise InvalidRequest(
                    f"step {step!r}: parameter {name!r} takes its value by position, "
                    "expected one that can be named"
                )
            case _:
                named[name] = value
    return named


def _shown(step: str, parameter: str, value: object) -> object:
    try:
        return _visible(value)
    except ValueError as error:
        raise InvalidRequest(f"step {step!r}: parameter {parameter!r}: {error}") from None


def _bounded(text: str) -> str:
    """The text if it can travel; nothing is made of one that can't."""
    if len(text) > MAX_TEXT:
        raise ValueError(
            f"found {len(text)} characters, expected {MAX_TEXT} at most: data belongs into files"
        )
    return text


def _visible(value: object) -> object:
    """The value as the spec shows it, promises as references; or that it must be hidden."""
    if isinstance(value, Promise):
        return str(value)
    if isinstance(value, str):
        return _bounded(value).replace("${", "$${")
    if type(value) is list:
        several = [_visible(each) for each in value]
        return _HIDDEN if _HIDDEN in several else several
    if type(value) is dict and all(type(key) is str for key in value):
        table = {key: _visible(each) for key, each in value.items()}
        return _HIDDEN if _HIDDEN in table.values() else table
    if value is None or type(value) in (bool, int) or _is_finite(value):
        return value
    return _HIDDEN


def _module_sha256(function: Callable[..., object]) -> str | None:
    """The digest of the file that defines a function; what is in `__main__` travels as it is."""
    from intendant.client.call import sha256_of

    if function.__module__ == "__main__":
        return None
    try:
        source = inspect.getsourcefile(function)
    except TypeError:
        return None
    return None if source is None else sha256_of(Path(source).read_bytes())


def _is_finite(value: object) -> bool:
    return type(value) is float and value - value == 0


def _holds_promise(value: object) -> bool:
    match value:
        case Promise():
            return True
        case list() | tuple() | set() | frozenset():
            return any(map(_holds_promise, value))
        case dict():
            return any(map(_holds_promise, value.values()))
        case _:
            return False


def _is_importable(made: Step[..., Any]) -> bool:
    """Whether the function's name, in its module, is this step."""
    import sys

    module = made.function.__module__
    if module == "__main__":
        return False
    found: object = sys.modules.get(module)
    for name in made.function.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is made


def _said(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}

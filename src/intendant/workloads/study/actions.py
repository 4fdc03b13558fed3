"""What the loop wants done: first the changes on disk, then the actions, in their order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from intendant.protocol.trial_states import Decision
from intendant.workloads.study.trials import Checkpoint, Params, Result, Trial


@dataclass(frozen=True, slots=True)
class Start:
    """Start a process on the trial, or give it to a warm one."""

    number: int
    params: Params
    checkpoint: Checkpoint | None
    start: int
    step: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Tell the trial, which waits for it, what to do. After STOP or PAUSE it has to end."""

    number: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell the trial that its report can't be taken, and why."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Save:
    """Take a copy of the folder that the trial reported; `on_saved` or `on_save_failed` follows."""

    number: int
    source: str
    result: Result


@dataclass(frozen=True, slots=True)
class End:
    """End the trial's process, whatever it is doing; `on_ended` follows."""

    number: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Nobody needs this checkpoint any more."""

    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Finish:
    """The study is over. Without an error it has a best trial."""

    error: str | None


Action: TypeAlias = Start | Answer | Refuse | Save | End | Drop | Finish


@dataclass(slots=True)
class Changes:
    """What has to be on disk, in one transaction, before the actions are taken."""

    trials: dict[int, Trial] = field(default_factory=dict)
    results: list[tuple[int, Result]] = field(default_factory=list)
    rewound: list[tuple[int, int]] = field(default_factory=list)
    """Trial and the last of its results that still counts."""
    saved: list[tuple[int, Checkpoint]] = field(default_factory=list)
    has_searched: bool = False
    has_scheduled: bool = False

    def __bool__(self) -> bool:
        return bool(self.trials or self.results or self.rewound or self.has_scheduled)

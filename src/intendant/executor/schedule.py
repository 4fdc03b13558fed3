"""Which runs may start: by queue, priority, then order of submission; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from intendant.protocol.run_states import RunState
from intendant.store.base import Candidate
from intendant.store.rows import RunRow


@dataclass(frozen=True, slots=True)
class QueueState:
    """What scheduling must know of a queue; `slots` None: as many as the daemon has."""

    name: str
    slots: int | None
    paused: bool


def free_slots(
    queues: Iterable[QueueState], live: Mapping[str, int], *, slots: int
) -> dict[str, int]:
    """How many runs of each queue could start now; queues that can start none are left out.

    A bound made smaller than what runs ends nothing: there is just nothing free.
    """
    free = slots - sum(live.values())
    limits = {
        queue.name: min(
            free, (slots if queue.slots is None else queue.slots) - live.get(queue.name, 0)
        )
        for queue in queues
        if not queue.paused
    }
    return {name: limit for name, limit in limits.items() if limit > 0}


def may_let_start(rows: Sequence[RunRow], free: Callable[[], Mapping[str, int]]) -> bool:
    """Whether the changes that led to these rows can be why a run, of them or another, starts now.

    An end can: others may have waited for it. A run that is queued where nothing is `free` can't,
    and who frees something has the scheduler look again.
    """
    if any(row.state is RunState.ENDED for row in rows):
        return True
    queued = {row.queue for row in rows if row.state is RunState.QUEUED}
    return bool(queued) and not queued.isdisjoint(free())


def choose(
    candidates: Sequence[Candidate], limits: Mapping[str, int], *, free: int, parents: int = 0
) -> list[Candidate]:
    """Those that start: best first over all queues, none beyond its queue's limit.

    Beside them up to so many `parents`, which only wait for runs of their own and take no slot.
    """
    chosen: list[Candidate] = []
    taken: Counter[str] = Counter()
    for candidate in sorted(candidates, key=lambda each: (-each.priority, each.run_id)):
        if candidate.only_waits:
            if parents > 0 and limits.get(candidate.queue, 0):
                parents -= 1
                chosen.append(candidate)
        elif taken.total() < free and taken[candidate.queue] < limits.get(candidate.queue, 0):
            taken[candidate.queue] += 1
            chosen.append(candidate)
    return chosen

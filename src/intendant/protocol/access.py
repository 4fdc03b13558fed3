"""What each request takes: the one table of who may ask for what.

`role` is the least that the caller must have. `reach` says which runs the request may be about:
those the caller sees, or those it owns (both are everybody's for operators). A run beyond that is
answered like one that does not exist.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from intendant.protocol import messages as m
from intendant.protocol.roles import Role


class Reach(Enum):
    """Which runs a request may be about."""

    NONE = auto()
    SEEN = auto()
    OWN = auto()


class Rule(NamedTuple):
    """What one kind of request takes."""

    role: Role
    reach: Reach = Reach.NONE


RULES: dict[type[m.Message], Rule] = {
    m.StatusRequest: Rule(Role.OBSERVE, Reach.SEEN),
    m.QueueListRequest: Rule(Role.OBSERVE),
    m.RunListRequest: Rule(Role.OBSERVE, Reach.SEEN),
    m.RunShowRequest: Rule(Role.OBSERVE, Reach.SEEN),
    m.RunExplainRequest: Rule(Role.OBSERVE, Reach.SEEN),
    m.RunWaitRequest: Rule(Role.OBSERVE, Reach.SEEN),
    m.EventListRequest: Rule(Role.OBSERVE, Reach.SEEN),
    m.RunSubmitRequest: Rule(Role.SUBMIT, Reach.OWN),  # of what it takes from other runs
    m.RunResultRequest: Rule(Role.SUBMIT, Reach.OWN),
    m.RunStepsRequest: Rule(Role.SUBMIT, Reach.OWN),
    m.StepWatchRequest: Rule(Role.SUBMIT, Reach.OWN),
    m.TrialListRequest: Rule(Role.SUBMIT, Reach.OWN),
    m.TrialAddRequest: Rule(Role.SUBMIT, Reach.OWN),
    m.TrialStopRequest: Rule(Role.SUBMIT, Reach.OWN),
    m.LogRequest: Rule(Role.SUBMIT, Reach.OWN),
    m.RunCancelRequest: Rule(Role.SUBMIT, Reach.OWN),
    m.RunHoldRequest: Rule(Role.SUBMIT, Reach.OWN),
    m.RunReleaseRequest: Rule(Role.SUBMIT, Reach.OWN),
    m.RunPriorityRequest: Rule(Role.SUBMIT, Reach.OWN),
    m.RunPruneRequest: Rule(Role.SUBMIT, Reach.OWN),
    m.RunRetryRequest: Rule(Role.SUBMIT, Reach.OWN),
    m.QueueSetRequest: Rule(Role.OPERATE),
    m.QueuePauseRequest: Rule(Role.OPERATE),
    m.QueueResumeRequest: Rule(Role.OPERATE),
    m.QueueRemoveRequest: Rule(Role.OPERATE),
    m.SystemLogRequest: Rule(Role.OPERATE),
    m.ShutdownRequest: Rule(Role.ADMIN),
    m.RunFinishedRequest: Rule(Role.GOVERN),
    m.RunNoteRequest: Rule(Role.GOVERN),
}

"""From a spec to the workload that carries it out."""

from __future__ import annotations

from intendant.protocol.specs import RunSpec
from intendant.workloads.base import Workload


def make_workload(spec: RunSpec) -> Workload:
    """The workload for this spec's kind; its module is imported only when it is needed."""
    match spec.workload.kind:
        case "command":
            from intendant.workloads.command import CommandWorkload

            return CommandWorkload(spec.workload)

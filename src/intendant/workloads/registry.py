"""From a spec to the workload that carries it out."""

from __future__ import annotations

from typing import assert_never

from intendant.protocol.pipelines import PipelineSpec
from intendant.protocol.specs import RunSpec, Secrets
from intendant.protocol.study import StudySpec
from intendant.protocol.workloads import CallSpec, CommandSpec
from intendant.workloads.base import Workload


def make_workload(spec: RunSpec, secrets: Secrets) -> Workload:
    """The workload for this spec's kind; its module is imported only when it is needed."""
    match spec.workload:
        case CommandSpec():
            from intendant.workloads.command import CommandWorkload

            return CommandWorkload(spec.workload)
        case CallSpec():
            from intendant.workloads.call import CallWorkload

            return CallWorkload(spec.workload, pickle=secrets.pickle)
        case PipelineSpec():
            from intendant.workloads.pipeline.workload import PipelineWorkload

            return PipelineWorkload(spec.workload, pickle=secrets.pickle)
        case StudySpec():
            from intendant.workloads.study.workload import StudyWorkload

            return StudyWorkload(spec.workload, pickle=secrets.pickle)
        case _:
            assert_never(spec.workload)

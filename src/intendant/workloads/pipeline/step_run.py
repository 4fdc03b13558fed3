"""A step that is a run of its own: the call that such a run makes.

The step's order lies in a file of the pipeline's run; the report goes where it does in every model.
"""

from __future__ import annotations

import json
from pathlib import Path

from intendant.workloads.calling import Refusal
from intendant.workloads.pipeline.step_executor import REPORT_FILE
from intendant.workloads.pipeline.step_process import carry_out

TARGET = f"{__name__}:carry_out_order"


def carry_out_order(path: str) -> None:
    """Carry the order out; `Refusal` with the step's own reason, so that the run fails with it."""
    carry_out(json.loads(Path(path).read_bytes()))
    report = json.loads((Path(path).parent / REPORT_FILE).read_bytes())
    if report["outcome"] == "failed":
        raise Refusal(report["reason"])

"""A step that is a run of its own: the call that such a run makes.

The step's order lies in a file of the pipeline's run, and its report goes beside it: the
pipeline may be away meanwhile.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from intendant.workloads.calling import Refusal
from intendant.workloads.pipeline.step_process import carry_out

REPORT_FILE = "report.json"


def carry_out_order(path: str) -> None:
    """Carry the order out; `Refusal` with the step's own reason, so that the run fails with it."""
    mine = os.getpid()
    report = carry_out(json.loads(Path(path).read_bytes()))
    if os.getpid() != mine:
        return  # a copy that the step's function has forked: only the original has a say
    target = Path(path).with_name(REPORT_FILE)
    draft = target.with_suffix(".new")
    draft.write_text(json.dumps(report), encoding="utf-8")
    draft.rename(target)
    if report["outcome"] == "failed":
        raise Refusal(report["reason"])

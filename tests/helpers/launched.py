"""What the launched do in tests of launchers: say what they find, then as their order says."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import setproctitle

from intendant.process.birth import Birth


def main(birth: Birth) -> int:
    """Write `facts` into the folder; then fail, leave with a code, or wait to be killed."""
    setproctitle.setproctitle("waiting-governor")
    order = birth.wait_order()
    if order is None:
        return 0
    birth.settle_in()
    setproctitle.setproctitle("launched-governor")
    found = {**facts(order), "is_report_inheritable": birth.report.get_inheritable()}
    Path("facts.new").write_text(json.dumps(found), encoding="utf-8")
    Path("facts.new").rename("facts")
    if "fail" in order:
        raise ValueError(order["fail"])
    if "exit" in order:
        return int(order["exit"])
    signal.pause()
    return 1


def facts(order: dict[str, Any]) -> dict[str, Any]:
    """What a governor must find when it begins."""
    defaults = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
    return {
        "order": order,
        "pid": os.getpid(),
        "sid": os.getsid(0),
        "pgid": os.getpgid(0),
        "folder": str(Path.cwd()),
        "environment": dict(os.environ),
        "descriptors": {
            int(entry.name): str(entry.readlink())
            for entry in Path("/proc/self/fd").iterdir()
            if entry.is_symlink() and "/proc/" not in str(entry.readlink())
        },
        "threads": threading.active_count(),
        "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
        "is_default": [signal.getsignal(number) is signal.SIG_DFL for number in defaults],
        "has_preloaded": "intendant.governor.governor" in sys.modules,
    }

"""Governors by multiprocessing's forkserver, through aiomultiprocess: some milliseconds later.

For where the zygote can't run.
"""

from __future__ import annotations

import socket

from intendant.launch.helper import Helper, HelperLauncher
from intendant.process.aio import HelperProcess, tracker_pid
from intendant.process.forkserver import main


class PortableLauncher(HelperLauncher):
    """Its helper asks the forkserver."""

    name = "portable"

    def _start_helper(self, control: socket.socket) -> Helper:
        process = HelperProcess(main, control, self._entry, self._preload, name="launcher")
        process.start()
        assert process.pid is not None  # noqa: S101 it was started
        if (tracker := tracker_pid()) is not None:
            self._children.know(tracker)
        return Helper(process.pid, process.reap)

"""Governors forked by a zygote on this machine."""

from __future__ import annotations

import socket
import subprocess
import sys

from intendant.launch.helper import Helper, HelperLauncher


class LocalLauncher(HelperLauncher):
    """Its helper is the zygote."""

    name = "zygote"
    loading_end_s = 0.0  # it has no children yet, and nothing to lose

    def _start_helper(self, control: socket.socket) -> Helper:
        command = [sys.executable, "-P", "-m", "intendant.process.zygote"]
        child = subprocess.Popen(  # noqa: S603 our own interpreter; it only forks
            [*command, str(control.fileno()), self._entry, *self._preload],
            stdin=subprocess.DEVNULL,
            pass_fds=[control.fileno()],
            start_new_session=True,
        )
        return Helper(child.pid, child.wait)

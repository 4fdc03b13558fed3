"""How trees can be kept together on this machine: tests of trees run once for each way."""

from __future__ import annotations

import os

from intendant.process.cgroup import make_child, own_cgroup


def methods_here() -> list[str]:
    """A subreaper always, a cgroup where one can be made."""
    home = own_cgroup()
    probe = None if home is None else make_child(home, f"intendant-test.{os.getpid()}")
    if probe is None:
        return ["subreaper"]
    probe.remove()
    return ["subreaper", "cgroup"]


METHODS = methods_here()

"""The title of a process that has only just been born, by setproctitle's C module alone.

The package around it imports logging, which takes as long as a bare interpreter needs to start.
"""

from __future__ import annotations

from functools import cache
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType


def set_title(title: str) -> None:
    """What ps(1) shows of this process from now on."""
    _titles().setproctitle(title)


@cache
def _titles() -> ModuleType:
    package = PathFinder.find_spec("setproctitle")
    places = package.submodule_search_locations if package else None
    spec = PathFinder.find_spec("_setproctitle", places) if places else None
    if spec is None or spec.loader is None:  # a release that is arranged in another way
        import setproctitle

        return setproctitle
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

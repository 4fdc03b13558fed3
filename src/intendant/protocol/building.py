"""Building models without a search for plugins of pydantic's.

Before it builds its first model, pydantic reads about every package that is installed, to find
plugins (https://docs.pydantic.dev/latest/concepts/plugins/): 28 ms and 2 MB for each process of
ours, whose models want none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_LOADER = "pydantic.plugin._loader"


def forgo_plugins() -> None:
    """From now on no model is for a plugin: in a process that runs nobody else's code."""
    if _LOADER not in sys.modules:
        stand_in = ModuleType(_LOADER)
        stand_in.get_plugins = tuple  # type: ignore[attr-defined]  # it is called: there are none
        sys.modules[_LOADER] = stand_in


@contextmanager
def without_plugins() -> Iterator[None]:
    """Models that are built in here are for no plugin; those of the user's, later on, may be."""
    is_ours = _LOADER not in sys.modules
    forgo_plugins()
    try:
        yield
    finally:
        if is_ours:
            sys.modules.pop(_LOADER, None)

"""Models that are built without a search for plugins."""

from __future__ import annotations

import sys

import pytest
from pydantic import BaseModel

from intendant.protocol.building import _LOADER, without_plugins


def test_no_plugin_is_looked_for_within_and_others_are_found_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, _LOADER, raising=False)

    with without_plugins():

        class Ours(BaseModel):
            x: int

        stand_in = sys.modules[_LOADER]
    assert Ours(x=1).x == 1
    assert not hasattr(stand_in, "entry_points")

    class Theirs(BaseModel):
        x: int

    assert hasattr(sys.modules[_LOADER], "entry_points")

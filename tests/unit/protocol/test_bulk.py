"""Garbage is collected again after much was made at once."""

from __future__ import annotations

import gc

import pytest

from intendant.protocol.bulk import uncollected


def test_collection_stops_meanwhile_and_goes_on_whatever_happens() -> None:
    with uncollected():
        with pytest.raises(ValueError, match="wrong"), uncollected():
            raise ValueError("wrong")
        assert not gc.isenabled(), "the outer one goes on"
    assert gc.isenabled()

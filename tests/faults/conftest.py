"""Fixtures of the fault tests."""

from __future__ import annotations

from tests.system.conftest import folders

__all__ = ["folders"]

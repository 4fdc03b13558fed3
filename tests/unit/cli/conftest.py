"""Fixtures of the command line's tests."""

from __future__ import annotations

import pytest

from tests.helpers.fake_executor import FakeExecutor
from tests.helpers.shell import Shell


@pytest.fixture
def shell(capfd: pytest.CaptureFixture[str]) -> Shell:
    """A shell in which nothing has been typed yet."""
    return Shell(capfd, FakeExecutor())

"""Fixtures of the fault tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.strays import Strays
from tests.helpers.trees import METHODS
from tests.system.conftest import folders

__all__ = ["folders"]


@pytest.fixture
def strays() -> Iterator[Strays]:
    """What the workloads of this test leave behind; ended after it."""
    strays = Strays()
    yield strays
    strays.kill()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Trees are kept together in each way in the long form, without cgroups in the short one."""
    if "method" in metafunc.fixturenames:
        is_long = metafunc.config.getoption("--long")
        metafunc.parametrize("method", METHODS if is_long else ["subreaper"])

"""Options and fixtures shared by all tests."""

from __future__ import annotations

import os
import signal

import hypothesis
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long", action="store_true", help="some tests in their long form (`make chaos`)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """A runner in the background ignores SIGINT, and what it starts would inherit that.

    Examples of hypothesis may take their time, as on a busy machine they do; the same few are
    tried each time, but in the long form.
    """
    is_long = config.getoption("--long")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    hypothesis.settings.register_profile(
        "any machine",
        deadline=None,
        max_examples=500 if is_long else 40,
        derandomize=not is_long,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.load_profile("any machine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In its long form a test has the time that the command line gives it, not its own mark's."""
    if config.getoption("--long") and (limit_s := config.getoption("--timeout")):
        for item in items:
            item.add_marker(pytest.mark.timeout(float(limit_s)), append=False)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """A test waits more than it works: one worker more than there are CPUs."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session")
def is_long(request: pytest.FixtureRequest) -> bool:
    """Whether tests that have a long form take their time."""
    return bool(request.config.getoption("--long"))

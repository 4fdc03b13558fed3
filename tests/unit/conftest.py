"""Fixtures of the unit tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(scope="module", autouse=True)
def _plain_logs() -> Iterator[None]:
    """A line of JSON for each event: what structlog does by itself is drawn, with tracebacks."""
    structlog.configure(
        [
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=repr),
        ]
    )
    yield
    structlog.reset_defaults()

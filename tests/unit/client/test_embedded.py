"""A private daemon that was never started."""

from __future__ import annotations

from pathlib import Path

import pytest

from intendant.client.embedded import EmbeddedDaemon
from intendant.errors import SupervisionError


def test_one_that_was_never_started_is_given_up_without_touching_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis").touch()

    daemon = EmbeddedDaemon()
    daemon.abandon()

    assert (tmp_path / "work" / "thesis").exists()
    with pytest.raises(SupervisionError, match="was not started"):
        _ = daemon.endpoint

"""A client that goes on submitting whatever dies, and knows what was accepted."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from intendant.client.client import Client
from intendant.errors import IntendantError
from intendant.protocol.folders import client_endpoint
from tests.helpers.daemon import Daemon

ANSWER_S = 1.0
"""How long an answer is waited for that may never come."""


def runs_have_ended(daemon: Daemon) -> bool:
    """Whether the daemon answers, and says that it has nothing left to do."""
    try:
        with Client(client_endpoint(daemon.runtime_dir), timeout_s=ANSWER_S) as client:
            counts = client.status()["runs"]
    except (IntendantError, TimeoutError):
        return False
    return sum(counts.values()) == counts["ended"]


class Submitter:
    """Submits with keys of its own, so that trying again is harmless."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._endpoint = client_endpoint(daemon.runtime_dir)
        self.accepted: dict[str, int] = {}
        self._unsure: list[tuple[str, Sequence[str]]] = []

    def submit(self, script: str) -> None:
        """Submit a shell script as a run; remember it if nobody answered."""
        self._try(secrets.token_hex(8), ["sh", "-c", script])

    def try_again(self) -> None:
        """Submit what was not answered once more, under its old key."""
        unsure, self._unsure = self._unsure, []
        for key, argv in unsure:
            self._try(key, argv)

    def is_sure_in_the_end(self) -> bool:
        """Try again; whether everything was accepted now. On a slow machine it takes several."""
        self.try_again()
        return self.is_sure

    @property
    def is_sure(self) -> bool:
        """Whether everything that was submitted was also accepted."""
        return not self._unsure

    def _try(self, key: str, argv: Sequence[str]) -> None:
        if self._daemon.running.poll() is not None:  # it is dead: nobody has to find that out
            self._unsure.append((key, argv))
            return
        try:
            with Client(self._endpoint, timeout_s=ANSWER_S) as client:
                run_id = client.submit(argv, key=key).id
        except (IntendantError, TimeoutError):
            self._unsure.append((key, argv))
        else:
            known = self.accepted.setdefault(key, run_id)
            assert known == run_id, f"the key {key} stands for the runs {known} and {run_id}"

"""What comes to a study from outside: orders in its folder, reports at its socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from intendant.errors import Busy
from intendant.executor.trials import _key_of, on_trial_list
from intendant.protocol.mdp import MAX_FRAME_BYTES
from intendant.protocol.messages import TrialListRequest, TrialListResponse, encode
from intendant.protocol.trial_records import TrialOrder
from intendant.protocol.trial_states import TrialState
from intendant.store import trial_orders
from intendant.store.trial_orders import leave_orders, waiting_orders
from intendant.store.trials import TRIALS_FILE, StudyRow, TrialChanges, TrialRow, TrialStore
from intendant.workloads.study.hearing import Hear, serve_reports
from tests.helpers.supervised import supervised
from tests.integration.test_scheduler import ADA, serving
from tests.unit.workloads.study.studies import make_spec

LIMIT_S = 60.0


def test_no_more_orders_wait_than_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_orders, "MAX_ORDERS", 2)
    leave_orders(tmp_path / "orders", [TrialOrder(key="a")])

    with pytest.raises(Busy, match="1 orders wait for the study, at most 2 may"):
        leave_orders(tmp_path / "orders", [TrialOrder(key="b"), TrialOrder(key="c")])

    leave_orders(tmp_path / "orders", [TrialOrder(key="b")])
    assert {order.key for order in waiting_orders(tmp_path / "orders")} == {"a", "b"}


async def test_trials_with_large_parameters_come_in_as_many_pages_as_they_need(
    tmp_path: Path,
) -> None:
    async with supervised(tmp_path) as attempt:
        desk = serving(attempt)
        run_id = await attempt.case.add(workload=make_spec().model_dump(exclude_none=True))
        folder = desk.parts.spool.run_folder(run_id)
        folder.mkdir(exist_ok=True)
        large: dict[str, JsonValue] = {"text": "x" * 900_000}
        with TrialStore(folder / TRIALS_FILE) as store:
            store.begin(StudyRow("fingerprint", "loss", "min", seed=7))
            waiting = [
                TrialRow(
                    number, TrialState.PENDING, None, None, large, 0, 0, 0.0, None, None, 0, None
                )
                for number in range(5)
            ]
            store.write(TrialChanges(trials=waiting))

        found: list[int] = []
        while len(found) < 5:
            request = TrialListRequest(selection=[str(run_id)], offset=len(found))
            page = await on_trial_list(desk, request, ADA)
            assert isinstance(page, TrialListResponse)
            assert len(encode(page)) < MAX_FRAME_BYTES
            assert page.total == 5
            found += [trial.number for trial in page.trials]
    assert found == [0, 1, 2, 3, 4]


class Listener:
    """Hears reports as a study does, and answers each."""

    def hear(self, number: int, said: Mapping[str, Any], answer: Hear) -> None:
        answer({"heard": number, "loss": said.get("loss")})


@pytest.mark.parametrize(
    ("line", "answered"),
    [
        (b'{"trial": 3, "loss": 0.5}', {"heard": 3, "loss": 0.5}),
        (b'{"loss": 0.5}', "expected a JSON object with the number of a trial"),
        (b"[3]", "expected a JSON object"),
        (b'{"trial": "x"}', "expected a JSON object"),
        (b"[" * 20_000, "expected a JSON object"),
        (b"\xff", "expected a JSON object"),
    ],
)
async def test_whatever_comes_to_the_socket_of_a_study_is_answered(
    tmp_path: Path, line: bytes, answered: dict[str, object] | str
) -> None:
    troubles: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, trouble: troubles.append(trouble))
    listener = Listener()
    path = str(tmp_path / "s.sock")
    async with asyncio.timeout(LIMIT_S):
        server = await asyncio.start_unix_server(lambda *ends: serve_reports(listener, *ends), path)
        async with server:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(line + b"\n")
            found = json.loads(await reader.readline())
            writer.close()

    if isinstance(answered, dict):
        assert found == answered
    else:
        assert answered in found["refused"]
    assert troubles == []


def test_each_order_of_a_request_has_a_key_of_its_own_however_long_that_was() -> None:
    keys = {TrialOrder(key=_key_of("k" * 100, number), number=number).key for number in range(3)}

    assert len(keys) == 3

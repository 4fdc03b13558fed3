"""What is asked of a study from outside, left in its run's folder until the study has acted on it.

An order is a file whose name is its key, so that one that is sent twice is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from intendant.errors import Busy
from intendant.protocol.trial_records import TrialOrder
from intendant.store.disk import DISK, put_file

ORDERS_FOLDER = "orders"
MAX_ORDERS = 10_000
"""That wait at once."""


def leave_orders(folder: Path, orders: Sequence[TrialOrder]) -> None:
    """Put orders on disk, each whole or not at all; `Busy` if too many would wait."""
    DISK.make_folder(folder.parent)
    DISK.make_folder(folder)
    waiting = sum(1 for _ in folder.glob("*.json"))
    if waiting + len(orders) > MAX_ORDERS:
        raise Busy(f"{waiting} orders wait for the study, at most {MAX_ORDERS} may")
    for order in orders:
        data = order.model_dump_json(exclude_none=True).encode()
        put_file(folder / f"{order.key}.json", data)


def waiting_orders(folder: Path) -> list[TrialOrder]:
    """The orders that wait, oldest first; a file that is none is left alone."""
    found = []
    with suppress(FileNotFoundError):
        files = [(path.stat().st_mtime_ns, path) for path in folder.glob("*.json")]
        for _, path in sorted(files)[:MAX_ORDERS]:
            with suppress(OSError, ValidationError):
                found.append(TrialOrder.model_validate_json(path.read_bytes()))
    return found


def forget_order(folder: Path, order: TrialOrder) -> None:
    """It has been acted on."""
    with suppress(FileNotFoundError):
        DISK.remove(folder / f"{order.key}.json")

"""Which runs a request means."""

from __future__ import annotations

from intendant.errors import InvalidRequest
from intendant.executor.access import Asker
from intendant.executor.desk import Desk
from intendant.protocol.run_states import RunState
from intendant.protocol.selectors import Selection, parse_selection

NOT_ENDED = frozenset(RunState) - {RunState.ENDED}


def selection_of(texts: list[str]) -> Selection:
    """The parsed selectors, or a refusal that names the part that is none."""
    try:
        return parse_selection(texts)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error


async def select(desk: Desk, texts: list[str], who: Asker) -> list[int]:
    """The runs that selectors mean to who asks; `all` are those that have not ended."""
    return await desk.parts.store.select(selection_of(texts), among_all=NOT_ENDED, owner=who.owner)


async def select_one(desk: Desk, texts: list[str], who: Asker) -> int:
    """The one run that selectors mean to who asks."""
    run_ids = await select(desk, texts, who)
    if len(run_ids) != 1:
        raise InvalidRequest(f"{','.join(texts)} means {len(run_ids)} runs; expected one")
    return run_ids[0]

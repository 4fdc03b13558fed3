"""The last word of a governor, from end to end of the socket that it was born with."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from intendant.process.report import END_BYTES, SEEN, ReportEnd, tell_end

Pair = tuple[ReportEnd, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """The executor's end, and the governor's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with ours, theirs:
        yield ReportEnd(ours), theirs


async def test_a_last_word_is_heard_once_and_answered(pair: Pair) -> None:
    executor, governor = pair
    heard: list[bytes] = []

    def on_word(word: bytes) -> None:
        heard.append(word)
        executor.answer(b"recorded")

    executor.answer(SEEN)  # it waits there unread, from the time of the birth
    executor.hear(on_word)
    with closing(executor):
        assert await tell_end(governor, b"x" * END_BYTES) == b"recorded"
    assert heard == [b"x" * END_BYTES]


async def test_whoever_outlives_the_executor_can_tell_nothing_here(pair: Pair) -> None:
    executor, governor = pair
    executor.answer(SEEN)
    executor.close()

    assert await tell_end(governor, b"the end") is None


async def test_an_executor_that_goes_before_it_answers_has_not_answered(pair: Pair) -> None:
    executor, governor = pair
    executor.hear(lambda _: executor.close())

    assert await tell_end(governor, b"the end") is None


async def test_a_word_that_is_too_long_has_to_go_another_way(pair: Pair) -> None:
    executor, governor = pair
    with closing(executor):
        assert await tell_end(governor, b"x" * (END_BYTES + 1)) is None


async def test_an_answer_to_a_governor_that_has_gone_goes_nowhere(pair: Pair) -> None:
    executor, governor = pair
    gone: asyncio.Future[bytes] = asyncio.Future()
    executor.hear(gone.set_result)
    governor.send(b"the end")
    governor.close()
    with closing(executor):
        await gone
        executor.answer(b"recorded")

"""What a governor and its executor say to each other by the socket of its birth."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from intendant.process.line import WORD_BYTES, Line, Reply

Pair = tuple[Line, Line]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """The executor's end, and the governor's."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with closing(Line(ends[0])) as executor, closing(Line(ends[1])) as governor:
        yield executor, governor


def echo(word: bytes, reply: Reply) -> None:
    reply(word[::-1])


def nothing() -> None:
    pass


async def test_either_side_asks_and_the_other_one_answers(pair: Pair) -> None:
    for side in pair:
        side.hear(echo, nothing)

    for side in pair:
        assert await side.ask(b"a question") == b"noitseuq a"
        assert await side.ask(b"") == b""
        assert await side.ask(b"x" * WORD_BYTES) == b"x" * WORD_BYTES


async def test_each_answer_belongs_to_its_question_in_whatever_order_they_come(pair: Pair) -> None:
    executor, governor = pair
    waiting: list[tuple[bytes, Reply]] = []

    def answer_backwards(word: bytes, reply: Reply) -> None:
        waiting.append((word, reply))
        if len(waiting) == 3:
            for asked, answer in reversed(waiting):
                answer(asked)

    governor.hear(answer_backwards, nothing)
    executor.hear(echo, nothing)

    answers = await asyncio.gather(*(executor.ask(b"%d" % number) for number in range(3)))

    assert answers == [b"0", b"1", b"2"]


async def test_an_answer_that_nobody_waits_for_any_more_is_dropped(pair: Pair) -> None:
    executor, governor = pair
    asked: asyncio.Queue[Reply] = asyncio.Queue()
    governor.hear(lambda _, reply: asked.put_nowait(reply), nothing)
    executor.hear(echo, nothing)
    given_up = asyncio.create_task(executor.ask(b"start"))
    late = await asked.get()
    given_up.cancel()
    again = asyncio.create_task(executor.ask(b"start again"))
    late(b"too late")
    (await asked.get())(b"in time")

    assert await again == b"in time"


async def test_who_asks_when_the_other_one_has_gone_gets_no_answer_and_is_told(pair: Pair) -> None:
    executor, governor = pair
    is_closed = asyncio.Event()
    governor.hear(echo, is_closed.set)
    executor.close()

    assert await governor.ask(b"the end") is None
    await is_closed.wait()
    assert await governor.ask(b"the end") is None


async def test_who_waits_when_the_other_one_goes_gets_no_answer(pair: Pair) -> None:
    executor, governor = pair
    executor.hear(lambda *_: executor.close(), nothing)
    governor.hear(echo, nothing)

    assert await governor.ask(b"the end") is None


async def test_a_question_that_is_too_long_has_to_go_another_way(pair: Pair) -> None:
    executor, _ = pair

    assert await executor.ask(b"x" * (WORD_BYTES + 1)) is None


async def test_an_answer_to_who_has_gone_goes_nowhere(pair: Pair) -> None:
    executor, governor = pair
    asked: asyncio.Future[Reply] = asyncio.Future()
    executor.hear(lambda _, reply: asked.set_result(reply), nothing)
    asking = asyncio.create_task(governor.ask(b"the end"))
    reply = await asked
    governor.close()
    reply(b"recorded")
    executor.close()
    reply(b"recorded")

    assert await asking is None


@pytest.mark.parametrize("packet", [b"?", b"!", b"!7 nobody asked", b"? ", b"!x y"])
async def test_odd_packets_harm_nobody(packet: bytes) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, closing(Line(ours)) as line:
        line.hear(echo, nothing)
        theirs.send(packet)
        theirs.send(b"?1 ab")
        answers = {await asyncio.to_thread(theirs.recv, 64)}
        if b"!1 ba" not in answers:
            answers.add(await asyncio.to_thread(theirs.recv, 64))

    assert b"!1 ba" in answers

"""Values that make no sense, given to every option and argument of every verb."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intendant.cli.main import intendant
from intendant.cli.parameters import Duration, JsonArguments, Whole
from intendant.cli.session import Session

ODD = [
    "", " ", "-", "-1", "0", "-0", "1.5", "1e3", "1e400", "nan", "inf", "-inf", "9" * 30,
    "1" * 5000, "1_000", "0x10", "٣", "１２", "½", "²", "1-٣", "3650.1d", "9999999999d",  # noqa: RUF001
    "1d1d", "1,", "5-3", "0-0", "1-99999999999999999999", "{}", "[", "[NaN]", "[1e400]",
    "[" * 100_000, "=", "a=", "=a", "a:=1", "tcp://", "ipc://", "tcp://x:99999999", "tcp://x:٣",
    "x" * 10_000, "\n", "\udc80", "--", "True",
]  # fmt: skip
DIGITS = st.text(
    st.characters(categories=["Nd", "Nl", "No"]) | st.sampled_from("+-_. edxk"), max_size=40
)


def every_verb(group: click.Group, *names: str) -> Iterator[tuple[str, click.Command]]:
    """The verbs, those of `queue` and `trial` too, by what one types."""
    with click.Context(group) as ctx:
        for name in group.list_commands(ctx):
            verb = group.get_command(ctx, name)
            assert verb is not None
            if isinstance(verb, click.Group):
                yield from every_verb(verb, *names, name)
            else:
                yield " ".join((*names, name)), verb


PARAMETERS = [
    pytest.param(verb, param, id=f"{name} {param.name}")
    for name, verb in every_verb(intendant)
    for param in verb.params
    if not getattr(param, "is_flag", False)
]


def given_to(verb: click.Command, param: click.Parameter, text: str) -> object:
    """What becomes of it; `UsageError` says what is wrong."""
    value = (text,) if param.multiple or param.nargs == -1 else text
    with (
        click.Context(verb, obj=Session(environ={})) as ctx,
        contextlib.redirect_stderr(io.StringIO()),
    ):
        return param.process_value(ctx, value)


def numbers(found: object) -> Iterator[float]:
    if isinstance(found, int | float):
        yield found
    elif isinstance(found, list | tuple):
        for each in found:
            yield from numbers(each)


@pytest.mark.parametrize(("verb", "param"), PARAMETERS)
def test_whatever_is_said_is_understood_or_refused_as_wrong_usage(
    verb: click.Command, param: click.Parameter
) -> None:
    for text in ODD:
        with contextlib.suppress(click.UsageError):
            found = given_to(verb, param, text)
            assert all(math.isfinite(number) for number in numbers(found))
            assert all(abs(number) < 2**63 for number in numbers(found))


@pytest.mark.parametrize(
    "text",
    ["", "٣", "１２", "1_000", "1.5", "nan", "1e3", "0x10", "9" * 19, "1" * 5000],  # noqa: RUF001
)
def test_what_is_no_whole_number_of_64_bits_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Whole().convert(text, None, None)


@given(DIGITS)
def test_a_number_is_what_everybody_reads_as_one(text: str) -> None:
    with contextlib.suppress(click.BadParameter):
        assert Whole().convert(text, None, None) == int(text)
        assert text.isascii()
        assert "_" not in text
    with contextlib.suppress(click.BadParameter):
        assert 0 <= Duration(may_be_zero=True).convert(text, None, None) <= 3650 * 86400
        assert text.isascii()


@pytest.mark.parametrize("text", ["[NaN]", "[-Infinity]", "[1e400]", "[" * 100_000, "1", "", "[1"])
def test_what_is_no_json_of_a_call_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        JsonArguments().convert(text, None, None)

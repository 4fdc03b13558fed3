"""Methods that both clients have: what they take is said once, how it is carried by each client."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import TYPE_CHECKING, Generic, ParamSpec, Self, TypeVar, overload

if TYPE_CHECKING:
    from inspect import Signature

C = TypeVar("C")
P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


class Carried(Generic[C, P, S, T]):
    """A method that makes a conversation or a reading of its arguments and has it carried.

    `help` and `inspect` find it documented as the function that makes it (`conversations`), with
    the same parameters. Where that gives a `Conversation[X]`, the method gives `gives` of X.
    """

    def __init__(self, make: Callable[P, S], carry: Callable[[C, S], T], gives: str) -> None:
        self._make = make
        self._carry = carry
        self._gives = gives
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type[C], name: str) -> None:
        self.__name__ = name
        self.__qualname__ = f"{owner.__qualname__}.{name}"
        self.__module__ = owner.__module__

    def __call__(self, client: C, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._carry(client, self._make(*args, **kwargs))

    @overload
    def __get__(self, client: None, owner: type[C]) -> Self: ...

    @overload
    def __get__(self, client: C, owner: type[C]) -> Callable[P, T]: ...

    def __get__(self, client: C | None, owner: type[C]) -> Self | Callable[P, T]:
        return self if client is None else MethodType(self, client)

    @property
    def __signature__(self) -> Signature:
        from inspect import Parameter, signature  # few ask

        made = signature(self._make)
        inner = str(made.return_annotation).partition("[")[2].removesuffix("]")
        itself = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
        return made.replace(
            parameters=[itself, *made.parameters.values()],
            return_annotation=self._gives.format(inner),
        )

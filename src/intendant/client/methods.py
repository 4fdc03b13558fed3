"""Methods that both clients have: what they take is said once, how it is carried by each client."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Generic, ParamSpec, Self, TypeVar, overload

C = TypeVar("C")
P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


class Carried(Generic[C, P, S, T]):
    """A method that makes a conversation or a reading of its arguments and has it carried.

    It is documented, and has the parameters, as the function that makes it (`conversations`).
    """

    def __init__(self, make: Callable[P, S], carry: Callable[[C, S], T]) -> None:
        self._make = make
        self._carry = carry
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, client: None, owner: type[C]) -> Self: ...

    @overload
    def __get__(self, client: C, owner: type[C]) -> Callable[P, T]: ...

    def __get__(self, client: C | None, owner: type[C]) -> Self | Callable[P, T]:
        if client is None:
            return self
        make, carry = self._make, self._carry

        @wraps(make)
        def method(*args: P.args, **kwargs: P.kwargs) -> T:
            return carry(client, make(*args, **kwargs))

        return method

"""Who asks, and what a role allows.

Each role allows what the one before it does:

    observe   look at runs, without environments, secret arguments, output and results
    submit    queue runs; read and change one's own
    operate   read and change everybody's runs, and the queues
    admin     end the daemon

`sees` says whose runs are known to a caller at all: everybody's, or one's own. To whom a run is not
known, it looks like one that does not exist. Operators know all. `govern` stands apart: it is the
role of one attempt's governor that has come with a key of its own, and allows to speak for that
attempt, nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Role(StrEnum):
    """What a caller may do."""

    GOVERN = "govern"
    OBSERVE = "observe"
    SUBMIT = "submit"
    OPERATE = "operate"
    ADMIN = "admin"


_ACCOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}")
RANKED = (Role.OBSERVE, Role.SUBMIT, Role.OPERATE, Role.ADMIN)
"""The roles that a person can have, each with all that the ones before it allow."""
_RANKS = {role: rank for rank, role in enumerate(RANKED)}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request, as the broker says: by the socket's credentials or by the key."""

    account: str
    role: Role
    sees_all: bool = True

    def may(self, needed: Role) -> bool:
        """Whether this caller's role allows what needs `needed`."""
        if needed is Role.GOVERN or self.role is Role.GOVERN:
            return needed is Role.GOVERN and self.role in (Role.GOVERN, Role.ADMIN)
        return _RANKS[self.role] >= _RANKS[needed]

    @property
    def owns_all(self) -> bool:
        """Whether everybody's runs are to this caller like its own."""
        return self.may(Role.OPERATE)

    def encode(self) -> str:
        """As it travels in a client-address frame: `role:all|own:account`."""
        return f"{self.role}:{'all' if self.sees_all else 'own'}:{self.account}"

    @classmethod
    def decode(cls, text: str) -> Self:
        """What `encode` gave; `ValueError` if it is not that."""
        role, sees, account = text.split(":", 2)
        return cls(account, Role(role), sees == "all")


def is_account(text: str) -> bool:
    """Whether `text` can be the name of an account that comes from afar."""
    return _ACCOUNT.fullmatch(text) is not None


def local(account: str) -> Caller:
    """Whoever comes by a socket in a folder that is closed to others: the daemon's own user."""
    return Caller(account, Role.ADMIN)


def governor(service: str) -> Caller:
    """The governor of one attempt, by its service, come with the key that was made for it."""
    return Caller(service, Role.GOVERN, sees_all=False)

"""The file that says whose keys are let in, and as whom.

Each line of the TOML file names a public key and what it stands for:

    "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7" = { account = "ann", role = "submit" }

`role` is `observe`, `submit`, `operate` or `admin` (`protocol.roles`). `sees`, `"all"` or `"own"`,
says whose runs are known to the key at all: one's own for `submit`, all for the others, unless it
is said. Several keys may have the same account.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from intendant.broker.keys import is_key, read_closed
from intendant.errors import SettingsError
from intendant.problems import explain_validation_error
from intendant.protocol.roles import Caller, Role, is_account

MAX_KEYS = 5000


def _account(text: str) -> str:
    if not is_account(text):
        raise ValueError(f"found {text!r}, expected at most 64 letters, digits and _.@-")
    return text


Account = Annotated[str, AfterValidator(_account)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    account: Account
    role: Literal["observe", "submit", "operate", "admin"]
    sees: Literal["own", "all"] | None = None

    def caller(self) -> Caller:
        """Who comes with the key."""
        role = Role(self.role)
        sees = self.sees or ("own" if role is Role.SUBMIT else "all")
        caller = Caller(self.account, role, sees == "all")
        return Caller(self.account, role) if caller.owns_all else caller


def _key(text: str) -> str:
    if not is_key(text):
        raise ValueError("expected a public key, 40 characters of Z85")
    return text


_Entries = Annotated[dict[Annotated[str, AfterValidator(_key)], _Entry], Field(max_length=MAX_KEYS)]
_ENTRIES: TypeAdapter[dict[str, _Entry]] = TypeAdapter(_Entries)


def read_authorized_keys(path: Path) -> dict[str, Caller]:
    """Who comes with which key; `SettingsError` says what is wrong in the file, and where."""
    found = read_closed(path, forbidden=0o022, why="others must not be able to change it")
    try:
        entries = _ENTRIES.validate_python(found)
    except ValidationError as error:
        raise SettingsError(explain_validation_error(error, source=str(path))) from error
    return {key: entry.caller() for key, entry in entries.items()}

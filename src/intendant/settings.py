"""The daemon's settings: one frozen model, read at the start and at SIGHUP.

Flags beat `INTENDANT_*`, which beat the user's TOML, which beats the site's, which beats the
defaults. The daemon never writes a settings file. Durations are numbers of seconds; the unit is in
the key.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from intendant.errors import SettingsError
from intendant.problems import QUEUE_NAME, Key, explain_toml_error, explain_validation_error

_ENVIRONMENT_PREFIX = "INTENDANT_"
_FROM_ENVIRONMENT = (
    "listen", "server_key_file", "authorized_keys", "slots", "on_signal", "log_level", "launcher",
)  # fmt: skip
"""Only plain values can come from the environment; the rest is for files."""

QueueName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}$"), QUEUE_NAME
]
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class QueueSettings(_Closed):
    """One named queue."""

    slots: int = Field(ge=1, le=100_000, description="runs of this queue live at once")


class Settings(_Closed):
    """Everything that can be set; each with a default."""

    endpoint: str | None = Field(default=None, description="where clients look for the daemon")
    key_file: str | None = Field(default=None, description="clients: their secret key, for tcp")
    server_key: str | None = Field(
        default=None, description="clients: the public key of the daemon that they mean"
    )
    listen: list[str] = Field(default_factory=list, description="further endpoints to answer at")
    server_key_file: str | None = Field(
        default=None, description="the daemon's own secret key, which listening at tcp takes"
    )
    authorized_keys: str | None = Field(
        default=None, description="file that says whose keys are let in by tcp, and as whom"
    )
    max_connections: int = Field(
        default=1024, ge=1, le=16_384, description="of each tcp endpoint at once"
    )
    broker_memory_mib: int = Field(
        default=2048, ge=512, le=1_048_576, description="address space of the broker's process"
    )
    slots: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        le=100_000,
        description="runs live at once over all queues; the number of CPUs when left out",
    )
    max_parents: int = Field(
        default=64,
        ge=1,
        le=10_000,
        description="pipelines live at once that only wait for runs of their steps, without a slot",
    )
    on_signal: Literal["stop", "drain", "leave"] = Field(
        default="stop", description="what becomes of the runs at SIGTERM, SIGINT and SIGABRT"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    start_deadline_s: Seconds = Field(default=30.0, description="from launch to the start request")
    heartbeat_s: Seconds = Field(default=5.0, description="between two signs of life on the bus")
    liveness: int = Field(default=3, ge=2, le=100, description="silent intervals until lost")
    max_queued: int = Field(
        default=100_000, ge=1, le=10_000_000, description="runs of one account that wait at once"
    )
    max_streams: int = Field(default=256, ge=1, le=10_000, description="wait, logs -f, events -f")
    request_workers: int = Field(default=64, ge=1, le=1024, description="requests served at once")
    tree: Literal["auto", "cgroup", "subreaper"] = Field(
        default="auto", description="how a run's processes are kept together"
    )
    launcher: Literal["zygote", "portable"] = Field(
        default="zygote", description="how governors come to life"
    )
    on_end: list[str] | None = Field(
        default=None,
        min_length=1,
        description="command for every run that has ended: its JSON on stdin, no shell",
    )
    on_end_timeout_s: Seconds = Field(
        default=30.0, description="time for an `on_end` command, the settings' or a run's own"
    )
    queues: dict[QueueName, QueueSettings] = Field(default_factory=dict)


NEEDS_RESTART = frozenset(
    {"listen", "server_key_file", "max_connections", "broker_memory_mib", "start_deadline_s",
     "heartbeat_s", "liveness", "max_streams", "request_workers", "tree", "endpoint", "key_file",
     "server_key", "launcher"}
)  # fmt: skip
"""What SIGHUP can't change in a running daemon."""


def read_settings(
    *, flags: Mapping[str, Any], environ: Mapping[str, str], files: Iterable[Path]
) -> Settings:
    """The settings in force; `SettingsError` names file (or variable, or flag) and key.

    `files` come strongest first; one that does not exist says nothing, an empty one is refused.
    """
    layers: list[tuple[str, Mapping[str, Any]]] = [("command line", flags)]
    layers.append(("environment", _from_environment(environ)))
    layers.extend((str(path), _from_file(path)) for path in files)
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for name, layer in reversed(layers):
        merged |= layer
        origin |= dict.fromkeys(layer, name)

    def source(key: Key) -> str:
        return origin.get(str(key[0]), "settings") if key else "settings"

    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        text = explain_validation_error(error, source=source, model=Settings)
        raise SettingsError(text) from error


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in _FROM_ENVIRONMENT:
        if (text := environ.get(_ENVIRONMENT_PREFIX + key.upper())) is not None:
            found[key] = text.split() if key == "listen" else text
    return found


def _from_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise SettingsError(f"{path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8") from error
    if (
        path.is_file() and not text.strip()
    ):  # who has nothing to set needs no file: this one has lost what was in it
        raise SettingsError(f"{path}: found an empty file, expected settings or comments")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(explain_toml_error(error, text, source=str(path))) from error

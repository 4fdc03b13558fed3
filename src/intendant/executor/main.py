"""`intendant serve`: settings, folders, log and loop; the daemon's process from its first line."""

from __future__ import annotations

from intendant import logs  # before structlog, which it keeps from importing more than is needed

# isort: split
import asyncio
import gc
import json
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import setproctitle
import structlog

from intendant.broker.addresses import check_free
from intendant.broker.config import BrokerConfig
from intendant.broker.link import BrokerProcess
from intendant.errors import IntendantError, SettingsError, StoreError
from intendant.executor.configuration import (
    Configuration,
    broker_config,
    check_endpoints,
    configuration,
)
from intendant.process.leaving import leave
from intendant.process.limits import raise_file_limit
from intendant.process.service_manager import ServiceManager
from intendant.protocol import folders
from intendant.protocol.folders import MAX_SOCKET_PATH_BYTES, configuration_dir
from intendant.settings import read_settings
from intendant.store.disk import DISK
from intendant.store.lock import lock_folder

log = structlog.get_logger()

_YOUNG = 5_000
"""New objects before they are looked through for garbage: those of many requests are none."""
_LONGEST_SOCKET = "/private.sock"
_SETTINGS_FLAGS = ("slots", "on_signal", "launcher", "server_key_file", "authorized_keys")


def serve(flags: Mapping[str, Any]) -> NoReturn:
    """Be the daemon, to the process's end. `SettingsError`, `StoreError`: it can't start.

    Who waits at the other end of `ready_fd` is told that, too: one line of JSON either way.
    """
    ready = _Ready(flags.get("ready_fd"))
    try:
        _serve(flags, ready)
    except IntendantError as error:
        ready.say({"failed": str(error)})
        raise


def _serve(flags: Mapping[str, Any], ready: _Ready) -> NoReturn:
    umask = os.umask(0o077)
    signal.signal(signal.SIGHUP, lambda *_: None)  # it asks for what is about to be done anyway
    manager = ServiceManager.of(os.environ)
    environ = dict(os.environ)
    runtime_dir = Path(flags.get("runtime_dir") or folders.runtime_dir(environ)).absolute()
    state_dir = Path(flags.get("state_dir") or folders.state_dir(environ)).absolute()
    config = Path(flags["config"]).absolute() if "config" in flags else None

    def read() -> Configuration:
        given = {key: flags[key] for key in _SETTINGS_FLAGS if key in flags}
        if "listen" in flags:
            given["listen"] = [flags["listen"]]
        files = folders.settings_files(environ) if config is None else [config]
        if config is not None and not config.exists():
            raise SettingsError(f"{config}: there is no such settings file")
        keys_dir = configuration_dir(environ) if config is None else config.parent
        return configuration(read_settings(flags=given, environ=environ, files=files), keys_dir)

    at_start = read()
    settings = at_start.settings
    check_endpoints(settings.listen, check_free)
    _make_private(runtime_dir)
    _make_private(state_dir)
    if len(os.fsencode(runtime_dir)) + len(_LONGEST_SOCKET) > MAX_SOCKET_PATH_BYTES:
        raise SettingsError(
            f"{runtime_dir}: the runtime folder's path is too long for a socket in it (unix(7))"
        )
    # Held to the end of the process; who finds another daemon here has touched nothing of its.
    locks = [lock_folder(folder) for folder in (state_dir, runtime_dir)]
    raise_file_limit()
    (state_dir / "spool").mkdir(exist_ok=True)
    setproctitle.setproctitle("intendant: executor")
    system_log = folders.system_log(state_dir)
    _make_private(system_log.parent)
    logs.configure(settings.log_level, role="executor", system_log=system_log)

    def on_ready() -> None:
        log.info("daemon_ready", pid=os.getpid(), state_dir=str(state_dir))
        ready.say({"ready": os.getpid()})

    os.chdir("/")  # the folder that it was started in may go
    of_broker = broker_config(at_start, state_dir=state_dir, runtime_dir=runtime_dir)
    broker = _first_broker(of_broker)
    # What takes the longest to load is loaded while the broker starts.
    from intendant.executor.executor import Executor
    from intendant.executor.service import ServiceReport

    async def run() -> int:
        executor = Executor(
            at_start,
            broker,
            of_broker,
            state_dir=state_dir,
            runtime_dir=runtime_dir,
            reload=read,
            on_ready=on_ready,
            report=ServiceReport(ServiceManager() if "embedded" in flags else manager),
            life_line=_kept_private(flags.get("life_line")),
            umask=umask,
        )
        return await executor.run()

    gc.set_threshold(_YOUNG)
    status = asyncio.run(run())
    for lock in locks:
        lock.release()
    leave(status)


class _Ready:
    """Whoever started us and waits to hear that we serve, or why we do not; once."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = _kept_private(descriptor)

    def say(self, what: dict[str, object]) -> None:
        """A line, if anybody waits for it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(BrokenPipeError):  # they are gone; the life-line says so too
                os.write(descriptor, json.dumps(what).encode() + b"\n")
            os.close(descriptor)


def _first_broker(config: BrokerConfig) -> BrokerProcess | None:
    """A broker, ahead of who keeps it alive; `None`: no process is to be had, which may pass."""
    try:
        return BrokerProcess.start(config)
    except OSError:
        return None


def _make_private(folder: Path) -> None:
    """The folder, for this user alone, whatever the umask was; on disk, with those it is in."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        for path in new:
            DISK.sync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"{folder} can't be made or be made private: {error.strerror}") from error


def _kept_private(descriptor: int | None) -> int | None:
    """A descriptor that no other process of ours inherits."""
    if descriptor is not None:
        os.set_inheritable(descriptor, False)
    return descriptor

"""Every error of the package in one tree; branches say whose fault it was.

IntendantError
├── ProtocolError          a peer sent something that makes no sense
│   └── IllegalTransition  an event that the state does not know
├── RequestRefused         the request was understood and refused; `code` travels on the wire
│   ├── InvalidRequest     invalid_request
│   ├── RunNotFound        run_not_found
│   ├── QueueNotFound      queue_not_found
│   ├── KeyConflict        key_conflict
│   ├── AccessDenied       access_denied
│   ├── ShuttingDown       shutting_down
│   ├── Busy               busy
│   ├── ServiceUnknown     service_unknown
│   ├── WorkerLost         worker_lost
│   ├── RequestExpired     request_expired
│   ├── SlowReader         slow_reader
│   ├── StaleAttempt       stale_attempt
│   └── InternalError      internal_error
├── Unreachable            no daemon answers at the endpoint
│   └── DaemonLost         it went away in the middle of a request, and did not come back in time
├── SettingsError          a settings or run file that can't be used
├── SupervisionError       a process did not do what it must
│   ├── LaunchFailed
│   ├── NotGranted
│   ├── LeftToRecovery
│   ├── HelperLost
│   └── TreeSurvived
├── StoreError             the disk or the database
│   ├── FolderLocked       another daemon owns the folder
│   └── RunUnreadable      a stored run that this version can't read
└── WorkloadError          the user's code or command
    ├── WorkloadNotStarted
    ├── ReportRefused       a trial's report that makes no sense
    ├── RunFailed
    └── RemoteTraceback     the cause of an exception that a call raised
"""

from __future__ import annotations

from collections.abc import Iterable


class IntendantError(Exception):
    """The base of every error raised on purpose."""


class ProtocolError(IntendantError):
    """A peer sent something that makes no sense."""


class IllegalTransition(ProtocolError):
    """An event that the state does not know."""


class RequestRefused(IntendantError):
    """A request that was understood and refused; `code` is stable and travels on the wire."""

    code = "refused"


class InvalidRequest(RequestRefused):
    """The request or the spec in it can't be used as it is."""

    code = "invalid_request"


class RunNotFound(RequestRefused):
    """No run has this id."""

    code = "run_not_found"


class QueueNotFound(RequestRefused):
    """No queue has this name."""

    code = "queue_not_found"


def unknown_queue(name: str, known: Iterable[str], where: str = "") -> QueueNotFound:
    """The refusal of a queue that nobody has made, with the way to make it."""
    return QueueNotFound(
        f"{where}no queue {name!r}; there are {', '.join(known)}; "
        f"'intendant queue set {name} --slots N' makes it"
    )


class KeyConflict(RequestRefused):
    """The submission key was used before, with another spec."""

    code = "key_conflict"


class AccessDenied(RequestRefused):
    """The peer may not do this."""

    code = "access_denied"


class ShuttingDown(RequestRefused):
    """The daemon ends and takes nothing new."""

    code = "shutting_down"


class Busy(RequestRefused):
    """A bound is reached; the same request may succeed later."""

    code = "busy"


class ServiceUnknown(RequestRefused):
    """No worker offers the service."""

    code = "service_unknown"


class WorkerLost(RequestRefused):
    """The worker that had the request died before its answer."""

    code = "worker_lost"


class RequestExpired(RequestRefused):
    """The request waited for a worker longer than it may."""

    code = "request_expired"


class SlowReader(RequestRefused):
    """The client read its stream too slowly and was cut off."""

    code = "slow_reader"


class StaleAttempt(RequestRefused):
    """A message about an attempt that is not the run's current one."""

    code = "stale_attempt"


class InternalError(RequestRefused):
    """The daemon failed at the request; its log says more."""

    code = "internal_error"


class Unreachable(IntendantError):
    """No daemon answers at the endpoint."""


class DaemonLost(Unreachable):
    """The daemon went away in the middle of a request, and did not come back in time."""


class SettingsError(IntendantError):
    """A settings file or run file that can't be used: says file, key and what was expected."""


class SupervisionError(IntendantError):
    """A process did not do what it must."""


class LaunchFailed(SupervisionError):
    """No governor came to life."""


class NotGranted(SupervisionError):
    """The intent to start a run could not be put on disk; the run is still queued."""


class LeftToRecovery(SupervisionError):
    """What can't be put on disk while the daemon ends; the next one finds it in the spool."""


class HelperLost(SupervisionError):
    """The broker or the zygote can't be kept alive."""


class TreeSurvived(SupervisionError):
    """Processes outlived SIGKILL for longer than the bounded wait."""


class StoreError(IntendantError):
    """The disk or the database failed."""


class FolderLocked(StoreError):
    """Another daemon owns the folder."""


class RunUnreadable(StoreError):
    """A stored run that this version can't read. It stays as it is; nothing is done with it."""


class WorkloadError(IntendantError):
    """The user's code or command."""


class WorkloadNotStarted(WorkloadError):
    """The workload could not be started; `reason` is what the run's record says."""

    def __init__(self, reason: str, *, exit_code: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.exit_code = exit_code


REFUSALS: dict[str, type[RequestRefused]] = {
    leaf.code: leaf for leaf in RequestRefused.__subclasses__()
}


PASSING = (
    Busy, RequestExpired, ServiceUnknown, SlowReader, TimeoutError, Unreachable, WorkerLost,
)  # fmt: skip
"""Troubles of a request that pass by themselves: what may be asked twice may be asked again."""


def refusal(code: str, message: str) -> RequestRefused:
    """The error that a server's `code` stands for; an unknown code gives the branch itself."""
    error = REFUSALS.get(code, RequestRefused)(message)
    error.code = code
    return error


class ReportRefused(WorkloadError):
    """A report of a trial that makes no sense: a step that was there before, say."""


class RunFailed(WorkloadError):
    """The run ended, and not well; what the client raises when it is asked for the result."""

    def __init__(
        self, run_id: int, *, outcome: str, reason: str | None, exit_code: int | None
    ) -> None:
        super().__init__(f"run {run_id} {outcome}: {reason or 'no reason is known'}")
        self.run_id = run_id
        self.outcome = outcome
        self.reason = reason
        self.exit_code = exit_code
        self.results: object = None
        """Of a pipeline: what its steps returned all the same."""


class RemoteTraceback(WorkloadError):
    """What the run's process printed of an exception: the cause of the same exception here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text}"

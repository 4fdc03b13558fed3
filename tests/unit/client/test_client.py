"""The client against an executor in memory, which checks every request against the models."""

from __future__ import annotations

import inspect
import os
import pydoc
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

import pytest

import intendant
from intendant import AsyncClient, Call, Client, Command
from intendant.client.async_client import AsyncRun
from intendant.client.run import Run
from intendant.errors import Busy, DaemonLost, RunFailed, RunNotFound, Unreachable, WorkerLost
from intendant.protocol import messages as m
from intendant.protocol.environment import decode_environment
from intendant.protocol.messages import ErrorResponse, RunSubmitRequest
from intendant.protocol.run_states import Outcome
from tests.helpers.fake_executor import DroppedClient, Ending, FakeConnection, FakeExecutor

STREAM_REQUESTS = (
    m.EventListRequest, m.LogRequest, m.RunWaitRequest, m.StepWatchRequest, m.SystemLogRequest,
)  # fmt: skip
FAILURE = Ending(Outcome.FAILED, 3, None, "exit code 3")


def client_of(
    executor: FakeExecutor,
    endpoint: str = "ipc:///nowhere",
    connection: Callable[[], FakeConnection] | None = None,
) -> Client:
    """A client whose connections lead to `executor`."""
    return DroppedClient(
        endpoint, connect=lambda _: connection() if connection else FakeConnection(executor)
    )


def test_a_submission_over_ipc_has_this_folder_environment_and_a_key() -> None:
    executor = FakeExecutor()
    client_of(executor).submit(["true"])
    [request] = executor.requests
    assert isinstance(request, RunSubmitRequest)
    [submission] = request.runs
    assert submission.spec.workload.cwd == os.getcwd()  # noqa: PTH109  as text, as it is
    assert decode_environment(request.environment or "") == dict(os.environb)
    assert submission.submission_key


def test_a_submission_over_tcp_has_neither_folder_nor_environment() -> None:
    executor = FakeExecutor()
    client_of(executor, "tcp://127.0.0.1:9").submit(["true"])
    [request] = executor.requests
    assert isinstance(request, RunSubmitRequest)
    [submission] = request.runs
    assert submission.spec.workload.cwd is None
    assert request.environment is submission.secrets.environment is None


def test_the_same_key_gives_the_same_run() -> None:
    client = client_of(FakeExecutor())
    assert client.submit(["true"], key="k").id == client.submit(["true"], key="k").id


def test_several_runs_go_in_one_request() -> None:
    executor = FakeExecutor()
    specs = [
        {"name": "a", "workload": {"kind": "command", "argv": ["true"]}},
        {"after": ["a"], "workload": {"kind": "command", "argv": ["true"]}},
    ]
    runs = client_of(executor).submit_all(specs, key="night")
    assert [run.id for run in runs] == [1, 2]
    assert len(executor.requests) == 1
    assert [one.submission_key for one in executor.submissions] == ["night/1", "night/2"]


def test_a_run_that_succeeded_gives_its_exit_code() -> None:
    run = client_of(FakeExecutor()).submit(Command(["true"]))
    assert run.result() == 0
    assert run.info["outcome"] == "succeeded"


def test_a_run_that_failed_says_how() -> None:
    run = client_of(FakeExecutor(ending=FAILURE)).submit(["false"])
    with pytest.raises(RunFailed, match="run 1 failed: exit code 3") as caught:
        run.result()
    assert (caught.value.outcome, caught.value.exit_code) == ("failed", 3)


def test_a_run_without_an_answer_in_time_is_a_time_out() -> None:
    client = client_of(FakeExecutor(ending=None))
    run = client.submit(["sleep", "9"])
    with pytest.raises(TimeoutError, match=r"^not ended within 0\.1 s: run 1$"):
        run.wait(timeout_s=0.1)
    with pytest.raises(TimeoutError, match=r"^not ended within 2 s: runs all 1$"):
        list(client.watch(["all", 1], any=True, timeout_s=2))


def test_the_info_of_a_run_is_asked_for_once() -> None:
    executor = FakeExecutor()
    run = client_of(executor).submit(["true"])
    assert run.info["state"] == run.info["state"] == "queued"
    assert [request.kind for request in executor.requests].count("run_show_request") == 1


def test_a_run_by_its_id_must_exist() -> None:
    with pytest.raises(RunNotFound, match="no run 7"):
        client_of(FakeExecutor()).run(7)


def test_cancelling_says_whether_there_was_anything_to_end() -> None:
    run = client_of(FakeExecutor()).submit(["true"])
    assert run.cancel("wrong") is True
    assert run.cancel() is False
    assert run.refresh()["reason"] == "wrong"


def test_wait_gives_the_runs_by_id() -> None:
    client = client_of(FakeExecutor())
    for _ in range(3):
        client.submit(["true"])
    assert [run["id"] for run in client.wait([3, 1])] == [1, 3]


def test_watching_shows_each_run_before_and_after() -> None:
    client = client_of(FakeExecutor())
    client.submit(["true"])
    assert [run["state"] for run in client.watch("all", changes=True)] == ["queued", "ended"]


def test_runs_come_page_by_page_newest_first() -> None:
    client = client_of(FakeExecutor(), "tcp://127.0.0.1:9")
    client.submit_all([{"workload": {"kind": "command", "argv": ["true"]}}] * 2500)
    assert [run["id"] for run in client.runs(limit=None)] == list(range(2500, 0, -1))
    assert [run["id"] for run in client.runs(limit=1200)] == list(range(2500, 1300, -1))


def test_runs_can_be_chosen() -> None:
    client = client_of(FakeExecutor())
    client.submit(["true"], queue="gpu")
    client.submit(["true"], hold=True)
    assert [run["id"] for run in client.runs(states=["held"])] == [2]
    assert [run["id"] for run in client.runs(queue="gpu")] == [1]
    assert [run["id"] for run in client.runs(selection=[1, "2"])] == [2, 1]


@pytest.mark.parametrize("cuts", [(), (1,), (2, 4), (0, 0, 6, 1)])
def test_a_log_is_whole_whatever_happens_to_the_connection(cuts: tuple[int, ...]) -> None:
    executor = FakeExecutor(log={"stdout": bytes(range(256))})
    client = client_of(executor, connection=lambda: FakeConnection(executor, cuts=cuts))
    run = client.submit(["true"])
    assert b"".join(run.logs(follow=True)) == bytes(range(256))


@pytest.mark.parametrize("read", ["logs", "watch", "watch_steps", "events", "system_log"])
def test_a_stream_that_is_asked_for_again_is_still_about_the_run_that_was_the_last(
    read: str,
) -> None:
    executor = FakeExecutor(log={"stdout": b"all"})
    client = client_of(executor, connection=lambda: FakeConnection(executor, cuts=(1,)))
    client.submit_all([{"workload": {"kind": "command", "argv": ["true"]}}] * 3)
    list(getattr(client, read)(["1, last"] if read == "watch" else "last"))
    first, again = (one for one in executor.requests if isinstance(one, STREAM_REQUESTS))
    assert (first.selection, again.selection) in ((["last"], ["3"]), (["1, last"], ["1, 3"]))


@pytest.mark.parametrize("read", ["logs", "watch", "watch_steps", "events", "system_log"])
def test_a_stream_about_the_last_run_is_the_only_question_and_refused_where_there_is_none(
    read: str,
) -> None:
    executor = FakeExecutor()
    with pytest.raises(RunNotFound, match="no run yet"):
        list(getattr(client_of(executor), read)("last"))
    assert len(executor.requests) == 1


class Bereft(FakeConnection):
    """A connection to a broker whose daemon has ended; for streams, `times` only."""

    def __init__(self, executor: FakeExecutor, code: str, times: Iterator[int]) -> None:
        super().__init__(executor)
        self._said = [ErrorResponse(code=code, message="nobody").model_dump_json().encode()]
        self._times = times

    def request(self, service: bytes, body: list[bytes], *, timeout_s: float) -> list[bytes]:
        return self._said

    def stream(
        self, service: bytes, body: Callable[[], list[bytes]], *, timeout_s: float | None
    ) -> Iterator[tuple[bool, list[bytes]]]:
        if next(self._times, 0):
            yield True, self._said
        else:
            yield from super().stream(service, body, timeout_s=timeout_s)


class BereftPool:
    """Connections to such a broker."""

    def __init__(self, code: str) -> None:
        self._said = [ErrorResponse(code=code, message="nobody").model_dump_json().encode()]

    async def request(self, _service: bytes, _body: list[bytes]) -> list[bytes]:
        return self._said


@pytest.mark.parametrize("code", ["worker_lost", "service_unknown"])
def test_a_broker_that_has_lost_its_daemon_is_no_daemon_until_another_one_comes(code: str) -> None:
    executor = FakeExecutor(log={"stdout": b"all"})
    run = client_of(executor).submit(["true"])
    left = iter([1])
    client = client_of(executor, connection=lambda: Bereft(executor, code, left))
    with pytest.raises(DaemonLost, match="gone"):
        client.show([run.id])
    assert b"".join(client.logs(run.id)) == b"all"


@pytest.mark.parametrize("code", ["worker_lost", "service_unknown"])
async def test_a_broker_that_has_lost_its_daemon_is_no_daemon_to_an_async_client(code: str) -> None:
    class Asked(AsyncClient):
        def _connections(self) -> Any:
            return BereftPool(code)

    with pytest.raises(DaemonLost, match="gone"):
        await Asked("ipc:///nowhere").show([1])


def test_a_stream_waits_for_a_daemon_that_is_restarted() -> None:
    executor = FakeExecutor(log={"stdout": b"all"})
    run = client_of(executor).submit(["true"])
    restart = iter([Bereft(executor, "worker_lost", iter([1])), None, FakeConnection(executor)])

    def connection() -> FakeConnection:
        if (found := next(restart)) is None:
            raise Unreachable("no socket")
        return found

    assert b"".join(client_of(executor, connection=connection).logs(run.id)) == b"all"


async def test_a_stream_of_an_async_client_waits_for_a_daemon_that_is_restarted() -> None:
    troubles = iter([WorkerLost("nobody"), Unreachable("no socket")])

    class Restarted(AsyncClient):
        async def _read_once(self, _reading: Any) -> AsyncGenerator[Any, None]:
            if trouble := next(troubles, None):
                raise trouble
            yield b"all"

    read = Restarted("ipc:///nowhere").logs("1", follow=True)
    assert [piece async for piece in read] == [b"all"]


def test_stderr_is_a_stream_of_its_own() -> None:
    run = client_of(FakeExecutor(log={"stderr": b"oh"})).submit(["true"])
    assert b"".join(run.logs(stream="stderr", attempt=1)) == b"oh"
    assert b"".join(run.logs()) == b""


def test_a_stream_gives_its_connection_back_when_it_is_left() -> None:
    executor = FakeExecutor(log={"stdout": b"0123456789"})
    connections = [FakeConnection(executor), FakeConnection(executor)]
    opened = iter(connections)
    client = client_of(executor, connection=lambda: next(opened))
    pieces = client.submit(["true"]).logs()
    next(pieces)
    del pieces
    assert [connection.closed for connection in connections] == [False, True]
    client.close()
    assert connections[0].closed


def test_a_client_that_is_dropped_unclosed_warns_and_gives_its_connection_back() -> None:
    connection = FakeConnection(FakeExecutor())
    client = Client("ipc:///nowhere", connect=lambda _: connection)
    client.status()
    with pytest.warns(ResourceWarning, match=r"unclosed Client\('ipc:///nowhere'\)"):
        del client
    assert connection.closed


def test_the_daemon_and_its_queues_can_be_asked_and_told() -> None:
    client = client_of(FakeExecutor())
    assert client.status()["pid"] == 41
    assert [queue["name"] for queue in client.queues()] == ["default"]
    assert client.queue_set("gpu", slots=2)["slots"] == 2
    assert client.queue_pause("gpu")["paused"] is True
    assert client.queue_resume("gpu")["paused"] is False
    assert client.queue_set("gpu", slots=None)["slots"] is None
    assert client.queue_remove("gpu")["name"] == "gpu"
    assert client.shutdown("drain") == "draining"


def test_a_refusal_is_raised_as_itself() -> None:
    executor = FakeExecutor(refusal=Busy("too many"))
    with pytest.raises(Busy, match="too many"):
        client_of(executor).status()


def test_a_call_gives_what_it_returned() -> None:
    executor = FakeExecutor(result=b'{"a": [1, 2, 3]}')
    run = client_of(executor).submit(Call("lab:fit"))
    assert run.result() == {"a": [1, 2, 3]}


def test_a_call_that_left_nothing_says_why() -> None:
    run = client_of(FakeExecutor(ending=FAILURE)).submit(Call("lab:fit"))
    with pytest.raises(RunFailed, match="exit code 3"):
        run.result()


def parameters(of: object) -> dict[str, inspect.Parameter]:
    """What the methods of an object take, beneath `name.parameter`; of a property nothing."""
    methods = {name: getattr(of, name) for name in dir(type(of)) if not name.startswith("_")}
    return {
        f"{name}.{parameter.name}": parameter
        for name, method in methods.items()
        for parameter in inspect.signature(method).parameters.values()
    }


def test_both_clients_take_the_same() -> None:
    ours, theirs = parameters(Client("ipc:///nowhere")), parameters(AsyncClient("ipc:///nowhere"))
    assert {name: one for name, one in theirs.items() if name in ours} == ours
    assert {name.partition(".")[0] for name in theirs.keys() - ours.keys()} == {"converse", "read"}


@pytest.mark.parametrize("name", ["wait", "result", "logs", "cancel", "refresh"])
def test_the_runs_of_both_clients_take_the_same(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(kind, name)) for kind in (Run, AsyncRun))
    assert ours.parameters == theirs.parameters


@pytest.mark.parametrize("name", ["show", "runs", "watch", "logs", "events", "last_event_id"])
def test_what_both_clients_have_is_documented_once(name: str) -> None:
    ours = getattr(Client("ipc:///nowhere"), name)
    theirs = getattr(AsyncClient("ipc:///nowhere"), name)
    assert ours.__name__ == name
    assert ours.__doc__ == theirs.__doc__ == getattr(Client, name).__doc__
    assert ours.__doc__
    its_own, of_class = inspect.signature(ours), inspect.signature(getattr(Client, name))
    assert its_own.parameters == inspect.signature(theirs).parameters
    assert list(of_class.parameters) == ["self", *its_own.parameters]


@pytest.mark.parametrize(
    ("thing", "lines"),
    [
        (Client, ["show(self, selection:", "events(self, selection:", "-> 'Iterator[EventInfo]'"]),
        (AsyncClient, ["-> 'Coroutine[Any, Any, RunDetails]'", "-> 'AsyncGenerator[bytes, None]'"]),
        (Client("ipc:///nowhere").status, ["() -> 'DaemonInfo'", "What the daemon is doing."]),
        (intendant, ["class Client(", "class Study(", "    step(", "class AsyncRun("]),
    ],
)
def test_help_says_what_can_be_called_and_how(thing: object, lines: list[str]) -> None:
    told = pydoc.plain(pydoc.TextDoc().document(thing, "it"))
    for line in lines:
        assert line in told

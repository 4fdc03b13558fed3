"""The process of one call: what it reports, what it leaves, how it ends when it is asked."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from intendant.client.pickles import open_result, pack_call
from intendant.errors import RemoteTraceback
from intendant.workloads.asking import ASKED
from tests.helpers.callee import Called, Callee
from tests.helpers.waiting import wait_for

LAB = """
import asyncio, os, signal, sys, time
from dataclasses import dataclass

@dataclass
class Point:
    x: int

def add(a: int, b: int = 1): return a + b
def point(at: Point): return at
async def later(x: int):
    await asyncio.sleep(0.01)
    return x
async def together(count):
    open(f"{os.getpid()}.here", "w").close()
    while sum(name.endswith(".here") for name in os.listdir()) < count:
        await asyncio.sleep(0.01)
    return os.getpid()
def boom(): raise ValueError("on\\nfire")
def nothing_said(): os._exit(0)
def leave(code): sys.exit(code)
def crash(): os.kill(os.getpid(), signal.SIGSEGV)
def opaque(): return object()
def chatty(size): sys.stdout.write("x" * size); return size
def closes_stdout(): print("before"); sys.stdout.close(); return 1
def closes_descriptors(): print("before"); os.close(1); os.close(2); return 1
def argv(): return sys.argv
def asked():
    try:
        print("ready", flush=True)
        time.sleep(600)
    finally: print("cleaned up", flush=True)
async def cancelled():
    os.write(1, b"ready\\n")  # in one piece: several processes write
    try: await asyncio.sleep(600)
    finally: print("cleaned up", flush=True)
def deaf():
    try:
        print("ready", flush=True)
        time.sleep(600)
    except SystemExit: return "finished all the same"
def forks(what):
    if os.fork():
        os.wait()  # the copy has long said what it has to say
        os._exit(0)
    if what == "raise": raise ValueError("of the copy")
    return object() if what == "opaque" else "of the copy"
def titled(title):
    import setproctitle
    setproctitle.setproctitle(title)
    return setproctitle.getproctitle()
def loop():
    print("ready", flush=True)
    while True: pass
"""

Call = Callable[..., Callee]


@pytest.fixture
def call(tmp_path: Path) -> Call:
    """Starts a call of one of the functions above."""
    (tmp_path / "lab.py").write_text(LAB)

    def start(name: str, *args: object, **order: object) -> Callee:
        return Callee(tmp_path, target=f"lab:{name}", **{"args": list(args), **order})

    return start


def result_in(folder: Path) -> object:
    return json.loads((folder / "result.json").read_bytes())


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("add", [1, 2], 3),
        ("add", {"a": 1}, 2),
        ("point", [{"x": "3"}], {"x": 3}),
        ("later", [5], 5),
        ("argv", [], ["lab:argv"]),
        ("closes_stdout", [], 1),
        ("titled", ["mine"], "mine"),
        ("closes_descriptors", [], 1),
        ("chatty", [5_000_000], 5_000_000),
    ],
)
def test_a_call_reports_success_and_leaves_its_result(
    call: Call, tmp_path: Path, name: str, args: object, expected: object
) -> None:
    called = call(name, args=args).wait()
    assert (called.status, called.report) == (0, {})
    assert result_in(tmp_path) == expected


@pytest.mark.parametrize(
    ("name", "args", "status", "report"),
    [
        ("boom", [], 1, {"reason": "exception: ValueError: on\\nfire"}),
        ("add", ["x"], 1, {"reason": "arguments: a: found 'x', expected a whole number"}),
        ("add", [], 1, {"reason": "arguments: missing a required argument: 'a'"}),
        ("missing", [], 1,
         {"reason": "exception: AttributeError: module 'lab' has no attribute 'missing'"}),
        ("sys", [], 1, None),
        ("nothing_said", [], 0, None),
        ("leave", [0], 0, None),
        ("leave", [3], 3, None),
        ("crash", [], -11, None),
    ],
)  # fmt: skip
def test_a_call_that_fails_says_why_or_nothing_and_leaves_no_result(
    call: Call, tmp_path: Path, name: str, args: object, status: int, report: object
) -> None:
    called = call(name, args=args).wait()
    assert called.status == status
    assert called.report == report or (name == "sys" and "is no function" in str(called.report))
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize("what", ["return", "raise", "opaque"])
@pytest.mark.parametrize("result", ["json", "pickle"])
def test_a_copy_that_the_function_forks_has_no_say(
    call: Call, tmp_path: Path, what: str, result: str
) -> None:
    called = call("forks", what, result=result).wait()
    assert (called.status, called.report) == (0, None)
    assert not list(tmp_path.glob("*result*"))


def test_a_result_without_json_is_a_failure(call: Call) -> None:
    called = call("opaque").wait()
    assert called.status == 1
    assert called.report is not None
    assert called.report["reason"].startswith("result: object as JSON: ")


def test_a_traceback_shows_the_users_code_alone(call: Call) -> None:
    called = call("boom").wait()
    assert "in boom" in called.stderr
    assert "intendant" not in called.stderr


def test_what_is_printed_before_a_sudden_end_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "lab.py").write_text("import os\ndef f():\n    print('seen')\n    os._exit(4)\n")
    called = Callee(tmp_path, target="lab:f").wait()
    assert (called.status, called.stdout) == (4, "seen\n")


def test_its_title_is_the_run_and_nothing_of_the_order(call: Call) -> None:
    callee = call("asked")
    wait_ready(callee)
    assert psutil.Process(callee.process.pid).cmdline()[0].strip() == "intendant: call 7.1"
    callee.ask()
    callee.wait()


def test_a_file_in_the_folder_named_like_a_module_of_the_callee_does_no_harm(
    tmp_path: Path,
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('mine')")
    (tmp_path / "lab.py").write_text("def f(): return 1\n")
    assert Callee(tmp_path, target="lab:f").wait().report == {}


# --- pickles -------------------------------------------------------------------------------------


def pickled(folder: Path, function: Callable[..., object], *args: object) -> Called:
    """Call a function that travels as a pickle."""
    encoded = base64.b64encode(pack_call(function, args, {})).decode()
    return Callee(folder, pickle=encoded, result="pickle").wait()


def opened(folder: Path) -> object:
    data = (folder / "result.pickle").read_bytes()
    return open_result(data, failure=AssertionError("the exception itself was not to be had"))


def test_a_pickled_function_leaves_a_pickle(tmp_path: Path) -> None:
    offset = 10
    assert pickled(tmp_path, lambda x: {x + offset}, 1).report == {}
    assert opened(tmp_path) == {11}


def test_a_pickled_call_begins_without_what_it_may_not_need(tmp_path: Path) -> None:
    heavy = {"asyncio", "cloudpickle", "logging", "pydantic", "subprocess", "traceback"}
    found = f"sorted({heavy} & {{*__import__('sys').modules}})"
    assert pickled(tmp_path, eval, found).report == {}
    assert opened(tmp_path) == []


def test_an_exception_is_kept_with_its_traceback(tmp_path: Path) -> None:
    def fails() -> None:
        raise LookupError("gone")

    called = pickled(tmp_path, fails)
    assert called.report == {"reason": "exception: LookupError: gone"}
    with pytest.raises(LookupError, match="gone") as caught:
        opened(tmp_path)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "in fails" in str(caught.value.__cause__)


# --- map -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["later", "add"])
def test_a_map_gives_the_results_in_order(call: Call, tmp_path: Path, name: str) -> None:
    called = call(name, args=[], map=[[at] for at in range(20)], processes=2).wait()
    assert called.report == {}
    assert result_in(tmp_path) == [at + (name == "add") for at in range(20)]


def test_all_processes_of_a_map_work_also_where_there_are_few_coroutines(
    call: Call, tmp_path: Path
) -> None:
    """Each of the three ends only once two processes are at it."""
    assert call("together", map=[[2]] * 3, processes=2).wait().report == {}
    assert len(set(json.loads((tmp_path / "result.json").read_bytes()))) == 2


def test_a_map_of_nothing_is_an_empty_list(call: Call, tmp_path: Path) -> None:
    assert call("add", map=[]).wait().report == {}
    assert result_in(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "given", "reason"),
    [
        ("add", [[1], ["x"]], "arguments: a: found 'x', expected a whole number"),
        ("boom", [[], []], "exception: ValueError: on\\nfire"),
        ("missing", [[]], "exception: AttributeError: module 'lab' has no attribute 'missing'"),
        ("opaque", [[]], "result: object as JSON: "),
        ("crash", [[], []], "process_lost: process "),
    ],
)
def test_one_failure_fails_a_map(call: Call, name: str, given: object, reason: str) -> None:
    called = call(name, map=given, processes=2).wait()
    assert called.status == 1
    assert called.report is not None
    assert called.report["reason"].startswith(reason)


# --- being asked ---------------------------------------------------------------------------------


def wait_ready(callee: Callee) -> None:
    assert callee.process.stdout is not None
    assert callee.process.stdout.readline() == "ready\n"


@pytest.mark.parametrize("name", ["asked", "cancelled"])
def test_a_call_that_is_asked_to_end_cleans_up_and_ends(call: Call, name: str) -> None:
    callee = call(name)
    wait_ready(callee)
    callee.ask()
    called = callee.wait()
    assert (called.status, called.stdout) == (ASKED, "cleaned up\n")
    assert called.report is None


def test_a_function_that_never_waits_is_interrupted_too(call: Call) -> None:
    callee = call("loop")
    wait_ready(callee)
    callee.ask()
    assert callee.wait().status == ASKED


def test_a_function_may_finish_its_work_when_asked(call: Call, tmp_path: Path) -> None:
    callee = call("deaf")
    wait_ready(callee)
    callee.ask()
    assert callee.wait().report == {}
    assert result_in(tmp_path) == "finished all the same"


def test_one_that_is_asked_before_it_begins_does_not_begin(call: Call) -> None:
    callee = call("asked")
    callee.ask()
    called = callee.wait()
    assert (called.status, called.stdout) == (ASKED, "")


def test_a_map_that_is_asked_leaves_nobody_behind(call: Call) -> None:
    callee = call("cancelled", map=[[], []], processes=2)
    wait_ready(callee)
    below = psutil.Process(callee.process.pid).children(recursive=True)
    assert below
    callee.ask()
    called = callee.wait()
    assert called.status == ASKED
    assert called.stdout.count("cleaned up") >= 1
    wait_for("all are gone", lambda: not any(process.is_running() for process in below))

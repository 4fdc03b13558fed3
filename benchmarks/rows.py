"""Every row, in the order of the table. To add one: a contest in a module here, a line below."""

from __future__ import annotations

from benchmarks.bus import broker_capacity, broker_rps
from benchmarks.command_line import ls_cold
from benchmarks.daemons import (
    all_obey,
    idle_shutdown,
    recovery,
    states_are_right,
    stubborn_shutdown,
)
from benchmarks.futures import first_future, first_future_beside_submitit
from benchmarks.launchers import launches
from benchmarks.resting import governor_memory, idle_cpu
from benchmarks.row import (
    Row,
    at_least_times_peer,
    at_least_where_peer,
    at_most,
    at_most_times_peer,
    median_of,
    p99_of,
)
from benchmarks.runs import cancel_to_empty, noop_runs, start_to_response
from benchmarks.submissions import submissions

FLUSH = "4 KiB append + fdatasync"

ROWS = (
    Row("start_to_response", "ms", "posix_spawn + wait", start_to_response(median_of, 20),
        at_most(5, "ms")),
    Row("start_to_response_p99", "ms", "posix_spawn + wait", start_to_response(p99_of, 100)),
    Row("launch_portable", "ms", "launch by the zygote", launches(1)),
    Row("launch_portable_8_at_once", "ms", "launch by the zygote", launches(8)),
    Row("noop_runs_per_s_1_slot", "runs/s", "posix_spawn + wait", noop_runs(1, 60),
        at_least_times_peer(0.1)),
    Row("noop_runs_per_s_2_slots", "runs/s", "posix_spawn + wait", noop_runs(2, 100),
        at_least_times_peer(0.1)),
    Row("noop_runs_per_s_8_slots", "runs/s", "posix_spawn + wait", noop_runs(8, 200),
        at_least_times_peer(0.1)),
    Row("submissions_per_s_1_client", "submissions/s", FLUSH, submissions(1, 500),
        at_least_times_peer(0.25)),
    Row("submissions_per_s_8_clients", "submissions/s", FLUSH, submissions(8, 1600),
        at_least_where_peer(3000, peer_limit=3000, share=0.8)),
    Row("submissions_per_s_64_clients", "submissions/s", FLUSH, submissions(64, 6400),
        at_least_where_peer(8000, peer_limit=3000, share=0.8)),
    Row("cancel_to_empty", "ms", "SIGTERM + wait", cancel_to_empty(median_of, 20),
        at_most(20, "ms")),
    Row("cancel_to_empty_beyond_grace", "ms", "SIGTERM + wait",
        cancel_to_empty(median_of, 5, is_stubborn=True), at_most(50, "ms")),
    Row("recovery_100_states", "ms", "start of an idle daemon", recovery(states_are_right),
        at_most(500, "ms")),
    Row("recovery_100_under_control", "ms", "start of an idle daemon", recovery(all_obey),
        at_most(2000, "ms")),
    Row("shutdown_idle", "ms", "SIGTERM + wait", idle_shutdown, at_most(200, "ms")),
    Row("shutdown_100_beyond_grace", "ms", "100 x SIGKILL + wait", stubborn_shutdown,
        at_most(1000, "ms")),
    Row("ls_cold", "ms", "python -c 'import zmq, click'", ls_cold, at_most_times_peer(1.5)),
    Row("first_future", "ms", "ProcessPoolExecutor", first_future, at_most(100, "ms")),
    Row("first_future_beside_submitit", "ms", "submitit's LocalExecutor",
        first_future_beside_submitit, at_most(100, "ms")),
    Row("broker_rps", "requests/s", "naive zmq.asyncio broker", broker_rps),
    Row("broker_requests_per_cpu_s", "requests/s", "naive zmq.asyncio broker", broker_capacity,
        at_least_times_peer(3)),
    Row("governor_memory", "MB", "python -c 'import time; time.sleep(600)'", governor_memory,
        at_most(5, "MB")),
    Row("idle_cpu_100_runs", "% of a CPU", "asyncio that waits for 100 processes", idle_cpu,
        at_most(0.5, "%")),
)  # fmt: skip

"""Every row, in the order of the table. To add one: a contest in a module here, a line below."""

from __future__ import annotations

from benchmarks import following, queued
from benchmarks.bus import (
    BARE_LOOP,
    LOOP_AHEAD,
    NAIVE,
    OURS,
    OURS_WITH_KEYS,
    PROXY,
    echoes,
    p50_us,
    p99_us,
    per_cpu_s,
)
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
from benchmarks.load import Load
from benchmarks.others import dask, hyperqueue, noop_runs_beside, task_spooler
from benchmarks.pipelines import large_graph_starts, ms_per_step
from benchmarks.resting import broker, executor, governors, idle_cpu, memory
from benchmarks.row import (
    Row,
    at_least,
    at_least_times_peer,
    at_least_where_peer,
    at_most,
    at_most_times_peer,
    median_of,
    p99_of,
)
from benchmarks.runs import cancel_to_empty, noop_calls, noop_runs, start_to_response
from benchmarks.studies import first_trial, slowdown, study_memory, trials_per_s
from benchmarks.submissions import p99_beside_runs, submissions

LARGE = Load(size=65_536, window=16, count=5_000)
ONE_BY_ONE = Load(window=1, workers=1, count=5_000)
NAIVE_IS = "naive zmq.asyncio broker"
FLUSH = "4 KiB append + fdatasync"
A_THOUSAND = "the same with 1,000 queued"
MILLION = 1_000_000
NOOPS = {"1_slot": (1, 60), "2_slots": (2, 100), "8_slots": (8, 200)}
"""Slots, and how many runs."""
PEERS = {
    dask: "Dask, a subprocess for each of its tasks",
    hyperqueue: "HyperQueue's LocalCluster",
    task_spooler: "task-spooler",
}

ROWS = (
    Row("start_to_response", "ms", "posix_spawn + wait", start_to_response(median_of, 20),
        at_most(5, "ms")),
    Row("start_to_response_p99", "ms", "posix_spawn + wait", start_to_response(p99_of, 100)),
    Row("launch_portable", "ms", "launch by the zygote", launches(1)),
    Row("launch_portable_8_at_once", "ms", "launch by the zygote", launches(8)),
    *(Row(f"noop_runs_per_s_{slots}", "runs/s", "posix_spawn + wait", noop_runs(*counts),
          at_least_times_peer(0.1)) for slots, counts in NOOPS.items()),
    *(Row(f"noop_runs_per_s_{slots}_beside_{peer.__name__}", "runs/s", name,
          noop_runs_beside(peer, *counts))
      for peer, name in PEERS.items() for slots, counts in NOOPS.items()),
    *(Row(f"noop_calls_per_s_{slots}", "runs/s", "ProcessPoolExecutor, its processes stay",
          noop_calls(*counts)) for slots, counts in NOOPS.items()),
    Row("submissions_per_s_1_client", "submissions/s", FLUSH, submissions(1, 500),
        at_least_times_peer(0.25)),
    Row("submissions_per_s_8_clients", "submissions/s", FLUSH, submissions(8, 1600),
        at_least_where_peer(3000, peer_limit=3000, share=0.8)),
    Row("submissions_per_s_64_clients", "submissions/s", FLUSH, submissions(64, 6400),
        at_least_where_peer(8000, peer_limit=3000, share=0.8)),
    Row("submit_p99_64_clients_beside_runs", "ms", "while nothing runs", p99_beside_runs(64, 3200),
        at_most(50, "ms")),
    Row("log_follow_latency", "ms", "tail --follow", following.latency),
    Row("log_follow_mb_per_s", "MB/s", "tail --follow", following.throughput),
    Row("pick_1000_queued", "µs", "one row by its id", queued.picks(queued.FEW)),
    *(Row(f"pick_{count}_queued", "µs", A_THOUSAND, queued.picks(count), at_most_times_peer(1.5))
      for count in (10_000, 100_000, MILLION)),
    Row("list_1000_queued", "ms", "status", queued.pages(queued.FEW)),
    *(Row(f"list_{count}_queued", "ms", A_THOUSAND, queued.pages(count), at_most_times_peer(1.5))
      for count in (10_000, 100_000, MILLION)),
    Row("start_1000000_queued", "ms", "start of an idle daemon", queued.start_up(MILLION),
        at_most(1000, "ms")),
    Row("ls_cold_1000000_queued", "ms", "python -c 'import zmq, click'", queued.ls_cold(MILLION),
        at_most(150, "ms")),
    Row("daemon_memory_1000000_queued", "MB", "with nothing queued", queued.memory(MILLION),
        at_most(120, "MB")),
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
    Row("broker_rps", "requests/s", NAIVE_IS, echoes(NAIVE), at_least_times_peer(3)),
    Row("broker_requests_per_cpu_s", "requests/s", NAIVE_IS, echoes(NAIVE, figure=per_cpu_s),
        at_least_times_peer(3)),
    Row("broker_rps_beside_bare_loop", "requests/s", "our loop without the protocol",
        echoes(BARE_LOOP), at_least_times_peer(0.8)),
    Row("broker_per_cpu_s_beside_bare_loop", "requests/s", "our loop without the protocol",
        echoes(BARE_LOOP, figure=per_cpu_s), at_least_times_peer(0.8)),
    Row("broker_rps_beside_loop_ahead", "requests/s", "the same, requests to who has one already",
        echoes(LOOP_AHEAD)),
    Row("broker_rps_beside_proxy", "requests/s", "zmq.proxy", echoes(PROXY)),
    Row("broker_rps_ipc", "requests/s", "zmq.proxy", echoes(PROXY, transport="ipc")),
    Row("broker_rps_64_kib", "requests/s", "zmq.proxy", echoes(PROXY, LARGE)),
    Row("broker_rps_curve", "requests/s", "our broker without keys",
        echoes(OURS, ours=OURS_WITH_KEYS)),
    Row("broker_rps_curve_64_kib", "requests/s", "our broker without keys",
        echoes(OURS, LARGE, ours=OURS_WITH_KEYS)),
    Row("broker_lockstep_p50", "µs", "zmq.proxy", echoes(PROXY, ONE_BY_ONE, figure=p50_us)),
    Row("broker_lockstep_p99", "µs", "zmq.proxy", echoes(PROXY, ONE_BY_ONE, figure=p99_us)),
    *(Row(f"{of.__name__.rstrip('s')}_memory", "MB", "python -c 'import time; time.sleep(600)'",
          memory(of), at_most(limit, "MB"))
      for of, limit in ((governors, 4), (broker, 25), (executor, 45))),
    Row("idle_cpu_100_runs", "% of a CPU", "asyncio that waits for 100 processes", idle_cpu,
        at_most(0.3, "%")),
    Row("pipeline_chain_50", "ms/step", "pyperunner", ms_per_step("processes", chained=True),
        at_most(5, "ms/step")),
    Row("pipeline_independent_50", "ms/step", "pyperunner",
        ms_per_step("processes", chained=False), at_most(3, "ms/step")),
    Row("pipeline_inline_50", "ms/step", "pyperunner", ms_per_step("inline", chained=True),
        at_most(0.4, "ms/step")),
    Row("pipeline_10000_start", "ms", "none", large_graph_starts, at_most(1000, "ms")),
    Row("study_trials_per_s_fresh", "trials/s", "Ray Tune, fresh actors",
        trials_per_s(100, reuse=False), at_least(50, "trials/s")),
    Row("study_trials_per_s_reused", "trials/s", "Ray Tune, reused actors",
        trials_per_s(300, reuse=True), at_least(300, "trials/s")),
    Row("study_first_trial", "ms", "Ray Tune: 5 to 8 s", first_trial, at_most(300, "ms")),
    Row("study_memory", "MB", "Ray Tune: 721 to 742 MB", study_memory, at_most(150, "MB")),
    Row("study_slowdown_10000", "x", "none", slowdown, at_most(1.5, "x")),
)  # fmt: skip

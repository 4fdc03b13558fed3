"""Dask: `python dask_peer.py SLOTS COUNT`, in an environment that has it.

Says for each line on stdin how many programs that do nothing it has started and waited for in a
second, each the work of one of its tasks.
"""

import subprocess
import sys
import time

from distributed import Client, LocalCluster  # type: ignore[import-not-found]  # as said above


def true(_: int) -> int:
    return subprocess.run(["/bin/true"], check=True).returncode


if __name__ == "__main__":
    slots, count = int(sys.argv[1]), int(sys.argv[2])
    with (
        LocalCluster(n_workers=slots, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        for _ in sys.stdin:
            began = time.perf_counter()
            client.gather(client.map(true, range(count), pure=False))
            print(count / (time.perf_counter() - began), flush=True)

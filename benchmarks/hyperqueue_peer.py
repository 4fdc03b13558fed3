"""HyperQueue's LocalCluster: `python hyperqueue_peer.py SLOTS COUNT FOLDER`, where it is installed.

Says for each line on stdin how many programs that do nothing it has run in a second, all of them
tasks of one job, without files for their output.
"""

import os
import sys
import time
from pathlib import Path

from hyperqueue import Job, LocalCluster  # type: ignore[import-not-found]  # as said above
from hyperqueue.cluster import WorkerConfig  # type: ignore[import-not-found]

slots, count, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
folder.mkdir()
os.chdir(folder)
out = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # its server speaks there
with LocalCluster(str(folder / "server"), WorkerConfig(cores=slots)) as cluster:
    client = cluster.client()
    for _ in sys.stdin:
        began = time.perf_counter()
        job = Job()
        for _ in range(count):
            job.program(["/bin/true"], stdout=None, stderr=None)
        client.wait_for_jobs([client.submit(job)])
        print(count / (time.perf_counter() - began), file=out, flush=True)

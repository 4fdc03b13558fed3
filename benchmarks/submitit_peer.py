"""submitit's local executor: `python submitit_peer.py FOLDER`, in an environment that has it.

Says for each line on stdin how many ms it took from the executor to the result of a trivial call.
"""

import sys
import time

import submitit  # type: ignore[import-not-found]  # in an environment of its own

for _ in sys.stdin:
    began = time.perf_counter()
    job = submitit.LocalExecutor(sys.argv[1]).submit(pow, 2, 10)
    assert job.result() == 1024
    print(1000 * (time.perf_counter() - began), flush=True)

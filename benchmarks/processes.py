"""What processes take, as the kernel counts it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path


def pss_mb(pids: Collection[int]) -> float:
    """Memory, what is shared counted in shares (proc_pid_smaps(5): smaps_rollup)."""
    kilobytes = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                kilobytes += int(line.split()[1])
    return kilobytes * 1024 / 1e6


def cpu_ns(pids: Collection[int]) -> int:
    """Time on a CPU since the start: the first figure of each thread's schedstat."""
    threads = [path for pid in pids for path in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((path / "schedstat").read_text().split()[0]) for path in threads)

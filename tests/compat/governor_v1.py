"""A governor as version 1 of the protocol has them, frozen: no code of the package, only its words.

It stands in for a governor that an older daemon started and that lives on under a newer one. Run as
`python governor_v1.py ENDPOINT FOLDER RUN ATTEMPT TOKEN`, it claims the attempt, says READY and
READY again whenever the broker was lost, follows its workload, ends it when asked, and reports.
Never change what it says: a newer daemon must understand it as it is.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import zmq

WORKER, CLIENT = b"MDPW02", b"MDPC02"
READY, REQUEST, FINAL, HEARTBEAT = b"\x01", b"\x02", b"\x04", b"\x05"


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def start_time(pid: int) -> int:
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    return int(stat[stat.rindex(b")") + 2 :].split()[19])


class Governor:
    def __init__(self, endpoint: str, folder: Path, run_id: int, attempt: int, token: str) -> None:
        self.endpoint, self.folder, self.token = endpoint, folder, token
        self.run_id, self.attempt = run_id, attempt
        self.token_sha256 = hashlib.sha256(token.encode()).hexdigest()
        self.context = zmq.Context()
        self.stop: dict[str, str] | None = None
        self.began = now()

    def claim(self) -> int:
        claim = {
            "kind": "claim",
            "protocol_version": 1,
            "pid": os.getpid(),
            "start_time": start_time(os.getpid()),
            "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            "token_sha256": self.token_sha256,
            "cgroup": None,
        }
        temporary = self.folder / ".claim.frozen"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, json.dumps(claim).encode())
        os.fsync(descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.link(temporary, self.folder / "claim")
        temporary.unlink()
        return descriptor

    def connect(self) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        worker = self.context.socket(zmq.DEALER)
        worker.linger = 0
        monitor = worker.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        worker.connect(self.endpoint)
        service = f"governor.{self.run_id}.{self.attempt}.{self.token}".encode()
        worker.send_multipart([WORKER, READY, service])
        return worker, monitor

    def govern(self, workload: subprocess.Popen[bytes]) -> None:
        worker, monitor = self.connect()
        while workload.poll() is None:
            poller = zmq.Poller()
            poller.register(worker, zmq.POLLIN)
            poller.register(monitor, zmq.POLLIN)
            ready = dict(poller.poll(200))
            if monitor in ready:
                worker.disable_monitor()
                worker.close()
                time.sleep(0.1)
                worker, monitor = self.connect()
            elif worker in ready:
                self.answer(worker, worker.recv_multipart(), workload)
            else:
                worker.send_multipart([WORKER, HEARTBEAT])

    def answer(
        self, worker: zmq.Socket[bytes], frames: list[bytes], workload: subprocess.Popen[bytes]
    ) -> None:
        if frames[1] != REQUEST:
            return
        request = json.loads(frames[4])
        about = {"run_id": self.run_id, "attempt": self.attempt, "protocol_version": 1}
        if request["kind"] == "run_start_request":
            said = {"kind": "run_start_response", "pid": workload.pid, "started_at": self.began}
        else:
            self.stop = {"outcome": request["outcome"], "reason": request["reason"]}
            workload.terminate()
            said = {"kind": "run_shutdown_response"}
        worker.send_multipart([WORKER, FINAL, frames[2], b"", json.dumps(said | about).encode()])

    def report(self, status: int) -> None:
        record: dict[str, object] = {
            "protocol_version": 1,
            "run_id": self.run_id,
            "attempt": self.attempt,
            "token_sha256": self.token_sha256,
            "outcome": "succeeded" if status == 0 else "failed",
            "reason": None,
            "exit_code": status if status >= 0 else None,
            "signal": -status if status < 0 else None,
            "started_at": self.began,
            "finished_at": now(),
            "steps": [],
            **(self.stop or {}),
        }
        temporary = self.folder / ".exit.frozen"
        temporary.write_text(json.dumps(record))
        temporary.rename(self.folder / "exit.json")
        request = {
            "kind": "run_finished_request",
            "protocol_version": 1,
            "token": self.token,
            "record": record,
        }
        client = self.context.socket(zmq.DEALER)
        client.linger = 0
        client.connect(self.endpoint)
        client.send_multipart([CLIENT, b"\x01", b"executor", json.dumps(request).encode()])
        client.poll(10_000)


def main() -> None:
    endpoint, folder, run_id, attempt, token = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    governor = Governor(endpoint, Path(folder), int(run_id), int(attempt), token)
    lock = governor.claim()
    workload = subprocess.Popen(["sleep", "600"])
    governor.govern(workload)
    governor.report(workload.wait())
    os.close(lock)
    os._exit(0)


if __name__ == "__main__":
    main()

"""Processes that all want one attempt: `python -m tests.helpers.claimants FOLDER TIMES`.

Each of so many children wants the attempt as soon as all are there: even ones claim it, odd ones
bury it. When all have tried, the numbers of those who won are printed; a claim is held until stdin
ends.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from intendant.process.identity import boot_id, start_time
from intendant.protocol.records import ClaimRecord
from intendant.store.spool import AttemptFolder


def record() -> ClaimRecord:
    """The claim of this process."""
    return ClaimRecord(
        pid=os.getpid(),
        start_time=start_time(os.getpid()) or 0,
        boot_id=boot_id(),
        token_sha256="0" * 64,
    )


def claim(folder: AttemptFolder, number: int) -> bool:
    """Whether this one has the attempt, or its burial, now."""
    if number % 2:
        return folder.entomb(by=f"claimant {number}", at=datetime.now(UTC))
    return folder.claim(record()) is not None


def main(folder: AttemptFolder, times: int) -> None:
    """Fork, start them all at once, tell how it went."""
    start_reader, start_writer = os.pipe()
    result_reader, result_writer = os.pipe()
    for number in range(times):
        if os.fork() == 0:
            os.close(start_writer)
            os.read(start_reader, 1)  # end-of-file for all at once
            os.write(result_writer, b"%3d%d" % (number, claim(folder, number)))
            sys.stdin.read()  # hold what is held
            os._exit(0)
    os.close(start_writer)
    answers = [os.read(result_reader, 4) for _ in range(times)]
    winners = [int(answer[:3]) for answer in answers if answer[3:] == b"1"]
    sys.stdout.write(json.dumps(winners) + "\n")
    sys.stdout.flush()
    for _ in range(times):
        os.wait()


if __name__ == "__main__":
    main(AttemptFolder(Path(sys.argv[1])), int(sys.argv[2]))

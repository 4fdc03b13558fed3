"""The command line: arguments become client calls, answers become text or JSON."""

from __future__ import annotations


def main() -> None:
    """The command `intendant`."""
    import os
    import sys

    from intendant.cli.main import run
    from intendant.cli.session import Session
    from intendant.cli.standard_streams import open_what_is_closed
    from intendant.process.leaving import leave

    open_what_is_closed()
    leave(run(sys.argv[1:], Session(environ=os.environ)))

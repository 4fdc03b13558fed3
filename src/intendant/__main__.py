"""`python -m intendant` is the command line."""

from __future__ import annotations

from intendant.cli import main

if __name__ == "__main__":
    main()

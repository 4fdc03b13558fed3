"""Libraries that no governor uses, though modules that it uses take them where they are there.

asyncio takes ssl, shutil three ways to compress, uuid a library of its own. Each is several maps
and many pages, which the kernel copies at every fork.
"""

from __future__ import annotations

import sys

FORGONE = ("ssl", "bz2", "lzma", "zlib", "_uuid")
"""Whoever imports one of these goes on without it: Python can be built without any."""


def forgo_libraries() -> None:
    """From now on their import fails: in a process that runs nobody else's code.

    A None does that (https://docs.python.org/3/reference/import.html#the-module-cache).
    """
    for name in FORGONE:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # typed as if there were no None

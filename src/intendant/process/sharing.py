"""What a process does before it forks, so that its children share its memory with it.

A page is copied for the first of them that writes to it, and Python writes to whatever it looks at.
"""

from __future__ import annotations

import gc
import sys


def settle() -> None:
    """Call it when all is imported: what can be left alone in a child is left alone there."""
    gc.collect()
    gc.freeze()  # a collection writes to every object that it looks at
    # What a child looks up takes the place of what was looked up here, whose name is counted down:
    # a write to some page that the child has nothing else to do with.
    sys._clear_type_cache()

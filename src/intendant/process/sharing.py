"""What a process does before it forks, so that its children share its memory with it.

A page is copied for the first of them that writes to it, and Python writes to whatever it looks at:
references are counted in the objects. So it matters on how many pages the objects lie that a child
is going to use. Where memory is managed in another way than supposed here, this only helps less.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType

_POOL_BYTES = 16 * 1024
_POOL_HEAD_BYTES = 48
_LARGEST_BLOCK_BYTES = 512
_FILL_BYTES = 128 * 1024
"""What is taken at most of each size of block."""

_HUGE_BYTES = 2 * 1024 * 1024
_MADV_COLLAPSE = 25
"""For madvise(2), Linux 6.1 and later."""

_kept: list[object] = []
"""What nobody needs, but whose place is not to be given to a child."""


def settle() -> None:
    """Call it when all is imported: what can be left alone in a child is left alone there."""
    gc.collect()
    gc.freeze()  # a collection writes to every object that it looks at
    # What a child looks up takes the place of what was looked up here, whose name is counted down:
    # a write to some page that the child has nothing else to do with.
    if sys.version_info >= (3, 13):
        sys._clear_internal_caches()
    else:
        sys._clear_type_cache()
    _fill_gaps()


def take_huge_pages() -> None:
    """Have the kernel put this process's memory into huge pages, as far as there are any.

    A fork copies one entry then where there were 512. A child that writes to a huge page has it
    split up for itself, which is quicker than copying the entries. Call it before `settle`.
    """
    with suppress(OSError):  # a kernel without them, or one that does not tell
        if "[never]" in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text():
            return
        madvise = ctypes.CDLL(None).madvise
        madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for begin, end in huge_ranges(Path("/proc/self/maps").read_bytes()):
            madvise(begin, end - begin, _MADV_COLLAPSE)  # refused where it is not known


def huge_ranges(maps: bytes) -> list[tuple[int, int]]:
    """The whole huge pages that fit into a process's own data, from proc_pid_maps(5)."""
    found = []
    for line in filter(None, maps.split(b"\n")):  # a path may hold anything else
        addresses, access, _, _, _, *path = line.split()
        if access == b"rw-p" and path in ([], [b"[heap]"]):
            begin, end = (int(word, 16) for word in addresses.split(b"-"))
            begin, end = -(-begin // _HUGE_BYTES) * _HUGE_BYTES, end // _HUGE_BYTES * _HUGE_BYTES
            if begin < end:
                found.append((begin, end))
    return found


def lay_together(functions: Collection[tuple[str, str]]) -> None:
    """Copy the code of these functions, by module and qualified name, to one place.

    A call counts the references to a function's code; by then it lies where it was when it was
    loaded, one page for nearly each of them. Whoever calls this warms up again: a copy is as the
    compiler made it.
    """
    _fill_gaps()
    move = _Move()
    for function in gc.get_objects():
        if type(function) is FunctionType:
            name = (function.__globals__.get("__name__", ""), function.__code__.co_qualname)
            if name in functions:
                function.__code__ = move(function.__code__)


class _Move:
    """Copies of code and of the code within; one of each."""

    def __init__(self) -> None:
        self._moved: dict[CodeType, CodeType] = {}
        _kept.append(self._moved)

    def __call__(self, code: CodeType) -> CodeType:
        if code not in self._moved:
            within = (self(each) if isinstance(each, CodeType) else each for each in code.co_consts)
            self._moved[code] = code.replace(co_consts=tuple(within))
        return self._moved[code]


def intern_together(names: Sequence[str]) -> None:
    """Give these names one place, before there is code with them: a lookup counts references."""
    _kept.append([sys.intern(name) for name in names])


def _fill_gaps() -> None:
    """Take all blocks that are free on pages in use: a child's objects get pages of their own.

    CPython has pools of blocks for each size that is a multiple of 16 (Objects/obmalloc.c).
    """
    _fill(16, object)
    _fill(32, lambda: float(32))
    head = sys.getsizeof(b"")
    for size in range(48, _LARGEST_BLOCK_BYTES + 1, 16):
        _fill(size, lambda size=size: bytes(size - 7 - head))  # type: ignore[misc]  # a default


def _fill(size: int, make: Callable[[], object]) -> None:
    """Make objects of `size` bytes until two are the first ones of a fresh pool."""
    before = 0
    for _ in range(_FILL_BYTES // size):
        made = make()
        _kept.append(made)
        if id(made) == before + size and before % _POOL_BYTES == _POOL_HEAD_BYTES:
            return
        before = id(made)

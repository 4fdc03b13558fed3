"""A census of the Python standard library: `count` shares out its packages, `merge` adds up.

    census.py count SHARE SHARES    count the packages of one share
    census.py merge SHARES          print the table, when every share has been counted

The shares meet in a folder in the daemon's state folder, which is the same for all of its runs.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import sys
import sysconfig
from pathlib import Path

LEFT_OUT = {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idle_test"}
TOP = 20
HEAD = ("PACKAGE", "FILES", "LINES", "FUNCTIONS", "LONGEST FUNCTION", "LINES")


def find_packages():
    """Each package (or module) of the standard library with its source files."""
    library = Path(sysconfig.get_paths()["stdlib"])
    packages = {}
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).parts
        if LEFT_OUT.isdisjoint(parts):
            packages.setdefault(parts[0].removesuffix(".py"), []).append(path)
    return packages


def share_out(packages, shares):
    """The packages in shares of about the same size: the largest first, to the smallest share."""
    sizes = {name: sum(path.stat().st_size for path in files) for name, files in packages.items()}
    heaps = [(0, number, []) for number in range(shares)]
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        size, number, names = min(heaps)
        heaps[number] = (size + sizes[name], number, [*names, name])
    return [names for _, _, names in heaps]


def count_package(files):
    """Files, lines, functions, and the longest function, of the sources that can be parsed."""
    lines = functions = length = 0
    longest = "-"
    for path in files:
        source = path.read_bytes()
        lines += source.count(b"\n")
        for name, size in functions_in(source):
            functions += 1
            if size > length:
                longest, length = name, size
    return {"files": len(files), "lines": lines, "functions": functions,
            "longest": longest, "length": length}  # fmt: skip


def functions_in(source):
    """The qualified name and the lines of each function."""
    try:
        nodes = [("", ast.parse(source))]
    except (SyntaxError, ValueError, RecursionError):
        return  # a file for another version, or one that is meant to be wrong
    while nodes:
        prefix, node = nodes.pop()
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                name = f"{prefix}{child.name}."
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield name[:-1], child.end_lineno - child.lineno + 1
            nodes.append((name, child))


def count(share, shares):
    """Count the packages of one share; the result is there whole or not at all."""
    packages = find_packages()
    mine = share_out(packages, shares)[share - 1]
    counted = {name: count_package(packages[name]) for name in mine}
    folder = meeting_place()
    folder.mkdir(exist_ok=True)
    draft = folder / f"{share}.draft"
    draft.write_text(json.dumps(counted))
    draft.rename(folder / f"{share}.json")
    print(f"share {share}: {len(mine)} packages")


def merge(shares):
    """Print the largest packages and the total, and leave nothing behind."""
    folder = meeting_place()
    counted = {}
    for share in range(1, shares + 1):
        counted.update(json.loads((folder / f"{share}.json").read_text()))
    largest = sorted(counted.items(), key=lambda item: (-item[1]["lines"], item[0]))
    rows = [row(name, package) for name, package in largest[:TOP]]
    print_table([HEAD, *rows, row(f"all {len(counted)}", total(counted))])
    shutil.rmtree(folder)


def total(counted):
    """All packages as one."""
    package, longest = max(counted.items(), key=lambda item: item[1]["length"])
    sums = {key: sum(one[key] for one in counted.values())
            for key in ("files", "lines", "functions")}  # fmt: skip
    return {**sums, "longest": f"{package}: {longest['longest']}", "length": longest["length"]}


def row(name, package):
    """One line of the table."""
    numbers = [f"{package[key]:,}" for key in ("files", "lines", "functions")]
    return (name, *numbers, package["longest"], f"{package['length']:,}")


def print_table(rows):
    """Text to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        aligned = [
            cell.ljust(width) if at in (0, 4) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        print("  ".join(aligned).rstrip())


def meeting_place():
    """Where the shares are put down; the daemon tells its runs where its state is."""
    if "INTENDANT_STATE_DIR" not in os.environ:
        sys.exit("census.py: found no INTENDANT_STATE_DIR, expected to be run by intendant")
    return Path(os.environ["INTENDANT_STATE_DIR"], "census")


if __name__ == "__main__":
    verb, *numbers = sys.argv[1:] or ["help"]
    if (verb, len(numbers)) not in (("count", 2), ("merge", 1)):
        sys.exit(__doc__)
    {"count": count, "merge": merge}[verb](*map(int, numbers))

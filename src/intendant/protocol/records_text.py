"""Records as YAML that is quick to write however long it is: JSON is YAML too; pure.

A list's members are one JSON object a line, what stands before them one JSON value a key
(https://yaml.org/spec/1.2.2/).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

_STRANGE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
"""What JSON leaves as it is and YAML forbids or reads as the end of a line (section 5.1)."""


def yaml_of(head: Mapping[str, object], name: str, rows: Iterable[Mapping[str, object]]) -> str:
    """The keys of `head`, tables of tables as blocks, then the rows as a list called `name`."""
    lines: list[str] = []
    for key, value in head.items():
        if isinstance(value, Mapping) and value:
            lines.append(f"{key}:")
            lines += [f"  {_json(inner)}: {_json(each)}" for inner, each in value.items()]
        else:
            lines.append(f"{key}: {_json(value)}")
    lines.append(f"{name}:")
    lines += [f"- {_json(row)}" for row in rows]
    return "\n".join(lines) + "\n"


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return _STRANGE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)

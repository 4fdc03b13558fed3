"""Reading run files: TOML, YAML or JSON, into specs."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intendant.errors import SettingsError

if TYPE_CHECKING:
    from intendant.protocol.studyfile import Resumes

MAX_BYTES = 16 * 1024 * 1024


def load_run_file(path: Path, resumes: Resumes | None = None) -> list[dict[str, object]]:
    """The specs of a file's runs, defaults left out; `SettingsError` names file, line or key.

    `resumes` answers for studies that prompt.
    """
    from intendant.protocol.runfile import parse_run_file
    from intendant.protocol.specs import MAX_SPEC_BYTES

    data = read_data(path)
    specs = parse_run_file(data, source=str(path), resumes=resumes)
    for spec in specs:
        size = len(spec.model_dump_json(exclude_defaults=True).encode())
        if size > MAX_SPEC_BYTES:
            found = f"found a run of {size} bytes as JSON"
            raise SettingsError(
                f"{path}: {found}, expected at most {MAX_SPEC_BYTES}: data belongs into files"
            )
    return [spec.model_dump(mode="json", exclude_defaults=True) for spec in specs]


def read_data(path: Path) -> object:
    """What the file says, in the syntax that its name promises."""
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        found = repr(path.suffix) if path.suffix else "no suffix"
        raise SettingsError(
            f"{path}: found {found}, expected a run file: "
            f"{', '.join(_PARSERS)} (a command comes after --)"
        )
    return parse(_read_text(path), str(path))


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{path}: can't be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise SettingsError(f"{path}: has more than {MAX_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path}: line {line}: is not UTF-8") from error


def _parse_toml(text: str, source: str) -> object:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        from intendant.problems import explain_toml_error

        raise SettingsError(explain_toml_error(error, text, source=source)) from error


def _parse_json(text: str, source: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_table)
    except json.JSONDecodeError as error:
        raise SettingsError(f"{source}: line {error.lineno}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{source}: {error}") from error


def _table(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The object with these keys; `ValueError` if one of them is there twice (RFC 8259, 4)."""
    table = dict(pairs)
    if len(table) < len(pairs):
        [(key, _), *_] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"found the key {key!r} more than once in a table")
    return table


def _parse_yaml(text: str, source: str) -> object:
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses a key that is in a table twice, as YAML does (1.2.2, 3.2.1.3)."""

        def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
            node = super().compose_mapping_node(anchor)
            seen = set[str]()
            for key, _ in node.value:
                if key.tag == "tag:yaml.org,2002:str":
                    if key.value in seen:
                        problem = f"found the key {key.value!r} more than once in a table"
                        raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                    seen.add(key.value)
            return node

    try:
        return Loader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}:" if error.problem_mark else ""
        raise SettingsError(f"{source}:{line} {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(f"{source}: {error}") from error


_PARSERS: dict[str, Callable[[str, str], object]] = {
    ".toml": _parse_toml,
    ".yaml": _parse_yaml,
    ".yml": _parse_yaml,
    ".json": _parse_json,
}

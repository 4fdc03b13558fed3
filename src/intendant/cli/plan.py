"""`intendant plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from intendant.cli import render
from intendant.cli.parameters import json_option
from intendant.errors import SettingsError

if TYPE_CHECKING:
    from intendant.protocol.pipelines import PipelineSpec
    from intendant.protocol.specs import RunSpec
    from intendant.workloads.pipeline.caching import Forecast

_FORMS = ("text", "dot", "mermaid")


@click.command("plan")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--only", multiple=True, metavar="STEP",
              help="This step and all that it comes after; may be repeated.")  # fmt: skip
@click.option("--as", "form", type=click.Choice(_FORMS), default="text", show_default=True,
              help="How the graph is written.")  # fmt: skip
@click.option("--keys", is_flag=True, help="What is in the cache's key of each step.")
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path),
              help="Write the pipeline to this file, which `run` and `submit` take.")  # fmt: skip
@click.option("--state-dir", type=click.Path(file_okay=False, path_type=Path),
              help="Whose cache is looked into; the daemon's when left out.")  # fmt: skip
@json_option
def verb(
    *,
    file: Path,
    only: tuple[str, ...],
    form: str,
    keys: bool,
    save: Path | None,
    state_dir: Path | None,
    as_json: bool,
) -> None:
    """Print the steps of a pipeline: in which order, what will run, what is cached, and why.

    Nothing is run and no user's code is loaded. In the text `*` marks a step that will run.

    \b
    Examples:
      intendant plan census.toml
      intendant plan census.toml --as dot | dot -Tsvg > census.svg
      intendant plan census.toml --only merge --save part.json
    """
    run = _pipeline_in(file, only)
    if save is not None:
        from intendant.protocol.runfile_text import table_of

        save.write_text(json.dumps(table_of(run), indent=2) + "\n", encoding="utf-8")
        return
    pipeline: Any = run.workload
    if form != "text":
        from intendant.protocol import graph_text

        click.echo(
            graph_text.to_dot(pipeline) if form == "dot" else graph_text.to_mermaid(pipeline)
        )
        return
    forecast = _forecast(pipeline, state_dir)
    if as_json:
        click.echo(render.as_json(_told(pipeline, forecast)))
        return
    from intendant.protocol.graph_text import to_text

    click.echo(to_text(pipeline, forecast.decisions))
    if keys:
        click.echo("\n" + "\n".join(_key_lines(forecast)))


def _pipeline_in(path: Path, only: tuple[str, ...]) -> RunSpec:
    """The one pipeline that a file holds, or what is wanted of it."""
    from intendant.cli.runfiles import read_data
    from intendant.protocol.graph_text import subset
    from intendant.protocol.pipelines import PipelineSpec
    from intendant.protocol.runfile import parse_run_file

    specs = parse_run_file(read_data(path), source=str(path))
    if len(specs) != 1 or not isinstance(workload := specs[0].workload, PipelineSpec):
        kinds = ", ".join(spec.workload.kind for spec in specs)
        raise SettingsError(f"{path}: found {kinds}, expected one pipeline")
    if not only:
        return specs[0]
    try:
        part = subset(workload, only)
    except ValueError as error:
        raise click.UsageError(f"--only: {error}") from error
    return specs[0].model_copy(update={"workload": part})


def _forecast(pipeline: PipelineSpec, state_dir: Path | None) -> Forecast:
    import os

    from intendant.protocol.folders import state_dir as default_state_dir
    from intendant.workloads.pipeline.cache import Cache
    from intendant.workloads.pipeline.caching import Forecast, cache_folder

    state = state_dir or default_state_dir(os.environ)
    cwd = Path.cwd() / (pipeline.cwd or "")
    return Forecast(pipeline, Cache(cache_folder(pipeline, state, cwd)), cwd)


def _told(pipeline: PipelineSpec, forecast: Forecast) -> list[dict[str, object]]:
    """Each step as JSON, parents before children."""
    return [
        {
            "name": name,
            "after": list(pipeline.graph.parents[name]),
            "inferred": list(pipeline.graph.inferred[name]),
            "runs": decision.runs,
            "reason": decision.reason,
            "key": forecast.key_of(name),
            "code": dict(forecast.keys[name].code),
        }
        for name, decision in forecast.decisions.items()
    ]


def _key_lines(forecast: Forecast) -> list[str]:
    lines = []
    for name, key in forecast.keys.items():
        lines.append(f"{name}  {forecast.key_of(name) or 'has no key'}")
        lines += [f"    code {path}  {digest}" for path, digest in key.code.items()]
        lines += [f"    ${{pipeline.{each}}}  {value!r}" for each, value in key.parameters.items()]
        lines += [f"    after {parent}  {digest}" for parent, digest in key.parents.items()]
    return lines

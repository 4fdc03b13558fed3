"""`intendant report`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

from intendant.cli import render
from intendant.cli.parameters import ONE_RUN, endpoint_option, run_argument
from intendant.cli.session import Session
from intendant.errors import InvalidRequest

PAGES = {
    "pipeline": "intendant.cli.pages.pipeline_page",
    "study": "intendant.cli.pages.study_page",
}
"""By the kind of a run: the module whose `write_page` makes the page about it."""


@click.command("report", epilog=ONE_RUN)
@run_argument
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path),
              help="The file to write: one page of HTML.")  # fmt: skip
@click.option("--sankey", "with_sankey", is_flag=True,
              help="With the flow of a pipeline (Sankey); takes the extra `plots`.")  # fmt: skip
@endpoint_option
@click.pass_obj
def verb(session: Session, *, selection: str, output: Path, with_sankey: bool) -> None:
    """Write a page about a pipeline or a study as it is now.

    Of a pipeline it shows graph, timeline, and steps with their parameters; of a study history,
    parallel coordinates, importances and timeline of its trials.
    The page is one file, and a browser that shows it fetches nothing else.

    \b
    Examples:
      intendant report 17 -o report.html
      intendant report last -o flow.html --sankey
    """
    with session.client() as client:
        details = client.show(selection)
        run = details["run"]
        if run["kind"] not in PAGES:
            kinds = " or a ".join(PAGES)
            raise InvalidRequest(f"run {run['id']} is a {run['kind']}, expected a {kinds}")
        write_page = import_module(PAGES[run["kind"]]).write_page
        text: str = write_page(client, details, with_sankey=with_sankey, now=render.clock())
    output.write_text(text, encoding="utf-8")

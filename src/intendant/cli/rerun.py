"""`intendant rerun`."""

from __future__ import annotations

import click

from intendant.cli import completion
from intendant.cli.parameters import ONE_RUN, Parameter, endpoint_option, json_option, run_argument
from intendant.cli.retry import continuing, queue_anew


@click.command("rerun", epilog=ONE_RUN)
@run_argument
@click.option("--from", "steps", multiple=True, required=True, metavar="STEP",
              shell_complete=completion.step,
              help="A step to run again, with all after it; may be repeated.")  # fmt: skip
@click.option("--set", "parameters", multiple=True, type=Parameter(),
              help="A parameter of the pipeline, or STEP:NAME=VALUE. The value is JSON; a text "
                   "needs no quotes unless it begins like JSON.")  # fmt: skip
@json_option
@endpoint_option
@click.pass_context
def verb(
    ctx: click.Context,
    /,
    *,
    selection: str,
    steps: tuple[str, ...],
    parameters: tuple[tuple[str | None, str, object], ...],
    as_json: bool,
) -> None:
    """Run a pipeline that has ended again from some steps on; prints the id of the new run.

    Steps that come before them, or beside them, are kept if they were done.

    \b
    Examples:
      intendant rerun 17 --from parse
      intendant rerun last --from parse --set parse:depth=3
    """
    order = continuing(parameters, rerun=steps)
    queue_anew(ctx.obj, [selection], order, as_json=as_json)

"""`intendant run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Unpack

import click

from intendant.cli import exit_status
from intendant.cli.escapes import visible
from intendant.cli.parameters import ArgvCommand, argv_of
from intendant.cli.resuming import answer_of, resume_option
from intendant.cli.run_options import given_options, run_options
from intendant.client.command import RunOptions
from intendant.errors import SettingsError
from intendant.protocol.folders import DATABASE

_FOLDER = click.Path(file_okay=False, path_type=Path)
_OF_ANY_RUNS = ("files", "check", "state_dir", "only_continue", "resume")


@click.command("run", cls=ArgvCommand, options_metavar="[OPTIONS]")
@click.argument(
    "files", nargs=-1, type=click.Path(path_type=Path), metavar="(FILE... | -- ARGV...)"
)
@click.option("--check", is_flag=True, help="Only say whether the files are sound.")
@click.option("--state-dir", type=_FOLDER, help="Keep the state here; unfinished runs go on.")
@click.option("--continue", "only_continue", is_flag=True,
              help="Only what --state-dir holds and has not succeeded.")  # fmt: skip
@resume_option
@run_options
@click.pass_context
def verb(
    ctx: click.Context,
    /,
    *,
    files: tuple[Path, ...],
    check: bool,
    state_dir: Path | None,
    only_continue: bool,
    resume: bool | None,
    secret_env: dict[str, str],
    **options: Unpack[RunOptions],
) -> int:
    """Carry out runs under a private daemon that ends with them.

    Ctrl-C ends them in order, a second one at once. The options of one run are for a command
    behind --; in a file each run says them for itself.

    \b
    Examples:
      intendant run nightly.toml
      intendant run -- make -j4 all
      intendant run --timeout 10m --retry 2 -- ./flaky-test
      intendant run --state-dir state --continue
    """
    argv = argv_of(ctx)
    _check_usage(ctx, has_argv=argv is not None)
    if check:
        return _check(files)
    from intendant.cli.embedded_runs import run_embedded
    from intendant.cli.runfiles import load_run_file
    from intendant.client.command import spec_of

    submissions = [load_run_file(path, answer_of(resume)) for path in files]
    if argv is not None:
        submissions.append([spec_of(argv, **options)])
    return run_embedded([] if only_continue else submissions, state_dir, secret_env=secret_env)


def _check_usage(ctx: click.Context, *, has_argv: bool) -> None:
    files, only_continue = ctx.params["files"], ctx.params["only_continue"]
    if only_continue and ctx.params["state_dir"] is None:
        raise click.UsageError("found --continue, expected --state-dir with it", ctx)
    if only_continue and not (ctx.params["state_dir"] / DATABASE).exists():
        found = f"found no runs in {ctx.params['state_dir']}"
        raise click.UsageError(f"{found}, expected those of an earlier 'intendant run'", ctx)
    if has_argv and (files or only_continue or ctx.params["check"]):
        raise click.UsageError("found a command behind --, expected it alone", ctx)
    if files and only_continue:
        raise click.UsageError(f"found {str(files[0])!r} with --continue, expected it alone", ctx)
    if not (files or has_argv or only_continue):
        raise click.UsageError("found nothing to run, expected a run file or -- ARGV", ctx)
    if not has_argv and (found := given_options(ctx, besides=_OF_ANY_RUNS)):
        raise click.UsageError(f"found {found} without a command behind --, expected one", ctx)


def _check(files: tuple[Path, ...]) -> int:
    """One line for each file: how many runs, or what is wrong."""
    from intendant.cli.runfiles import load_run_file

    status = exit_status.DONE
    for path in files:
        try:
            specs = load_run_file(path)
        except SettingsError as error:
            click.echo("\n".join(map(visible, str(error).splitlines())), err=True)
            status = exit_status.USAGE
        else:
            click.echo(f"{path}: ok, {len(specs)} {'run' if len(specs) == 1 else 'runs'}")
            _say_which_queues(path, specs)
    return status


def _say_which_queues(path: Path, specs: Sequence[Mapping[str, object]]) -> None:
    """What no file can tell: whether the daemon that the runs are for has their queues."""
    queues = {str(spec["queue"]) for spec in specs if spec.get("queue")} - {"default"}
    if queues:
        named = f"queue{'s' if len(queues) > 1 else ''} {', '.join(sorted(queues))}"
        only = "that of 'intendant run' has only 'default'"
        click.echo(f"{path}: for a daemon with the {named}; {only}", err=True)

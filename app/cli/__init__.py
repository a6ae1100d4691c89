"""The command line: what each command does is in app.tools and the domains; here are its words."""

import traceback
from collections.abc import Sequence

import click

from app import __version__
from app.cli import (
    admin,
    audit,
    bench,
    care,
    completion,
    inspection,
    measure,
    planning,
    processes,
    publishing,
)
from app.cli.failure import describe

#: 128 + SIGINT, as shells count.
INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="oneprotect")
def oneprotect() -> None:
    """OneProtect Webhooks: platform events, delivered into the tenants' own systems.

    New here? Run: oneprotect up
    """


def _accept_debug(command: click.Command) -> None:
    """Let `--debug` stand after any command; `run` looks for it, whatever fails first."""
    command.params.append(
        click.Option(["--debug"], is_flag=True, expose_value=False, help="Show tracebacks.")
    )
    for inner in getattr(command, "commands", {}).values():
        _accept_debug(inner)


for module in (
    processes,
    publishing,
    admin,
    audit,
    care,
    inspection,
    planning,
    bench,
    measure,
    completion,
):
    for each in module.COMMANDS:
        oneprotect.add_command(each)
_accept_debug(oneprotect)


def run(arguments: Sequence[str]) -> int:
    """Run one command; return its exit code. An error is one line on stderr."""
    try:
        code = oneprotect.main(list(arguments), prog_name="oneprotect", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help())
        return error.exit_code
    except click.Abort:
        click.echo(err=True)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  # the edge: whatever it is becomes one line
        if "--debug" in arguments:
            traceback.print_exception(error)
        click.echo(f"oneprotect: {describe(error)}", err=True)
        return getattr(error, "exit_code", 1)
    return code if isinstance(code, int) else 0

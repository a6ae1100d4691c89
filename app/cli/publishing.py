"""Publish an event from the shell."""

import os
import sys

import click

from app.cli.patience import patience


@click.command()
@click.option("--tenant", help="The tenant it concerns; may be left out with a tenant's token.")
@click.option("--type", "event_type", required=True, help="The event type, as alert.created.")
@click.option("--data", required=True, help="JSON; @FILE reads a file, - reads stdin.")
@click.option("--id", "key", help="Your id: publishing it again publishes nothing new.")
@click.option("--url", help="Where the API runs.  [default: this machine's settings]")
@click.option("--token", help="API token.  [default: OP_TOKEN; in local, the demo platform token]")
def publish(
    tenant: str | None,
    event_type: str,
    data: str,
    key: str | None,
    url: str | None,
    token: str | None,
) -> None:
    """Publish one event through the API."""
    from app.settings import Settings
    from app.tools import ports
    from app.tools import publish as api

    settings = Settings.from_env(os.environ)
    url = url or ports.url(settings.host, settings.port).rstrip("/")
    token = token or os.environ.get("OP_TOKEN") or _local_token(settings.env)
    try:
        raw = api.read_data(data, sys.stdin.buffer)
        with patience("Publishing"):
            answer = api.publish(
                url, token, tenant=tenant, event_type=event_type, data=raw, key=key
            )
    except api.PublishError as fault:
        raise click.ClickException(str(fault)) from None
    click.echo(answer)


def _local_token(env: str) -> str:
    if env != "local":
        raise click.UsageError("a token is needed: --token, or OP_TOKEN in the environment")
    return "op_local_platform"


COMMANDS: tuple[click.Command, ...] = (publish,)

"""What `oneprotect up` says when everything runs: where to look, how to sign in, what to try."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from app import __version__
from app.identity.demo import DEMO_PASSWORD, DEMO_TOKENS, DEMO_USERS
from app.identity.models import PLATFORM
from app.settings import Settings
from app.tools import ports


def banner(settings: Settings, *, receiver_port: int | None, demo: bool) -> str:
    """Return the whole text; `receiver_port` is None where no receiver runs."""
    portal = ports.url(settings.host, settings.port)
    engine = "SQLite" if settings.sqlite_path else "PostgreSQL"
    title = click.style(f"OneProtect Webhooks {__version__}", bold=True)
    places = [("Portal", portal), ("API docs", f"{portal}api/docs")]
    if receiver_port:
        places.append(("Receiver", ports.url("127.0.0.1", receiver_port)))
    parts = [f"{title}  {settings.env}, {engine}", _table(places)]
    if demo:
        parts += [_people(), _tokens()]
        if receiver_port:
            parts.append(_quick_start(settings, receiver_port))
    parts.append("Ctrl-C stops everything; the data is kept.")
    indented = "\n\n".join(parts).replace("\n", "\n  ").replace("\n  \n", "\n\n")
    return f"\n  {indented}\n"


def program() -> str:
    """Return how a person calls this program from their shell."""
    if shutil.which("oneprotect"):
        return "oneprotect"
    beside = Path(sys.executable).with_name("oneprotect")
    if not beside.exists():
        return f"{shlex.quote(sys.executable)} -m app"
    here = Path.cwd()
    return shlex.quote(str(beside.relative_to(here) if beside.is_relative_to(here) else beside))


def _people() -> str:
    rows = [(email, role.label, DEMO_PASSWORD) for _, email, role in DEMO_USERS]
    return f"{_heading('Sign in')}  email, role, password\n{_table(rows)}"


def _tokens() -> str:
    rows = [
        (text, role.label, "every tenant" if tenant == PLATFORM else tenant)
        for tenant, text, role in DEMO_TOKENS
    ]
    return f"{_heading('API tokens')}\n{_table(rows)}"


def _quick_start(settings: Settings, receiver_port: int) -> str:
    portal = ports.url(settings.host, settings.port)
    where = "" if portal == ports.url(Settings().host, Settings().port) else f" --url {portal}"
    token = next(text for _, text, role in DEMO_TOKENS if role == "tenant_admin")
    receiver = ports.url("127.0.0.1", receiver_port)
    return f"""{_heading("Try it")}  in another terminal
1  A destination that points at the receiver; the answer shows its signing secret, once
   curl -s {portal}api/v1/integrations/destinations \\
     -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \\
     -d '{{"name": "My receiver", "endpoint_url": "{receiver}"}}'
2  An event
   {program()} publish --tenant acme --type alert.created \\
     --data '{{"severity": "high"}}'{where}
3  Its arrival: {receiver} (paste the secret there to see it verified)"""


def _heading(text: str) -> str:
    return click.style(text, bold=True)


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(lines)

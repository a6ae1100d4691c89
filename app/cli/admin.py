"""Administration for the operators of an installation: tenants, people, tokens, keys."""

import asyncio
import getpass
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import click

from app.cli.listing import as_json, show
from app.cli.patience import patience

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from app.audit.models import Actor
    from app.database import Database

T = TypeVar("T")

TENANT_ROLES = ("tenant_admin", "operator", "auditor")
#: NIST SP 800-63B asks for 8 at least, 15 where nothing else protects the account.
MIN_PASSWORD_CHARS = 12

of_tenant = click.option("--tenant", "tenant_id", help="Only of this one.  [default: all]")


@click.group()
def tenant() -> None:
    """Tenants of this installation."""


@tenant.command("create")
@click.option("--id", "tenant_id", required=True, help="The slug that stands in every event.")
@click.option("--name", required=True)
def create_tenant(tenant_id: str, name: str) -> None:
    """Create a tenant."""
    from app.identity import service

    made = _in_transaction(
        lambda session: service.create_tenant(
            session, tenant_id=tenant_id, name=name, actor=_operator()
        )
    )
    click.echo(f"Tenant {made.id} created.")


@tenant.command("list")
@as_json
def list_tenants(as_json: bool) -> None:
    """List the tenants."""
    from app.tools import roster

    show(_read(roster.tenants), roster.TenantLine, as_json=as_json)


@click.group()
def user() -> None:
    """People who sign in to the portal."""


@user.command("create")
@click.option("--tenant", "tenant_id", required=True)
@click.option("--email", required=True)
@click.option("--name", required=True)
@click.option("--role", required=True, type=click.Choice(TENANT_ROLES))
@click.option("--password", help="Asked for, or read from stdin, when left out.")
def create_user(tenant_id: str, email: str, name: str, role: str, password: str | None) -> None:
    """Create a user of a tenant."""
    from app.identity import service
    from app.identity.permissions import Role

    password = password if password is not None else _ask_password()
    if len(password) < MIN_PASSWORD_CHARS:
        raise click.UsageError(f"the password needs at least {MIN_PASSWORD_CHARS} characters")
    made = _in_transaction(
        lambda session: service.create_member(
            session,
            tenant_id=tenant_id,
            email=email,
            name=name,
            role=Role(role),
            password=password,
            actor=_operator(),
        )
    )
    click.echo(f"User {made.email} created.")


@user.command("list")
@of_tenant
@as_json
def list_users(tenant_id: str | None, as_json: bool) -> None:
    """List the people who may sign in."""
    from app.tools import roster

    rows = _read(lambda session: roster.users(session, tenant_id))
    show(rows, roster.UserLine, as_json=as_json)


@click.group()
def token() -> None:
    """Tokens for the API."""


@token.command("create")
@click.option("--tenant", "tenant_id", required=True, help="A tenant, or platform.")
@click.option("--name", required=True, help="What it is for; stands in the audit.")
@click.option("--role", required=True, type=click.Choice((*TENANT_ROLES, "platform")))
@click.option("--expires-days", type=click.IntRange(1, 3650), help="Never, when left out.")
def create_token(tenant_id: str, name: str, role: str, expires_days: int | None) -> None:
    """Create a token and print it, this one time."""
    from app.database import utcnow
    from app.identity import service
    from app.identity.permissions import Role

    expires_at = utcnow() + timedelta(days=expires_days) if expires_days else None
    _, text = _in_transaction(
        lambda session: service.create_token(
            session,
            tenant_id=tenant_id,
            name=name,
            role=Role(role),
            actor=_operator(),
            expires_at=expires_at,
        )
    )
    click.echo("This is shown once, keep it safe:", err=True)
    click.echo(text)


@token.command("list")
@of_tenant
@as_json
def list_tokens(tenant_id: str | None, as_json: bool) -> None:
    """List the tokens, also those that no longer work; never their text."""
    from app.tools import roster

    rows = _read(lambda session: roster.tokens(session, tenant_id))
    show(rows, roster.TokenLine, as_json=as_json)


@click.group()
def destination() -> None:
    """Destinations of all tenants, to look at."""


@destination.command("list")
@of_tenant
@as_json
def list_destinations(tenant_id: str | None, as_json: bool) -> None:
    """List the destinations and how it stands with them."""
    from app.tools import roster

    rows = _read(lambda session: roster.destinations(session, tenant_id))
    show(rows, roster.DestinationLine, as_json=as_json)


@click.command()
def rekey() -> None:
    """Re-encrypt stored secrets under the newest key."""
    from app.destinations import resealing
    from app.runtime import keyring_of
    from app.settings import Settings

    keyring = keyring_of(Settings.from_env(os.environ))
    done = _in_transaction(
        lambda session: resealing.rekey(session, keyring, _operator()), "Re-encrypting"
    )
    if done.lost:
        raise click.ClickException(
            f"{done.sealed} re-encrypted; no key opens what belongs to:"
            f" {', '.join(sorted(done.lost))}. Add the key that sealed it, or rotate these secrets."
        )
    click.echo(f"{done.sealed} re-encrypted; the first of ONEPROTECT_SECRET_KEYS now suffices.")


def _in_transaction(work: "Callable[[AsyncSession], Awaitable[T]]", what: str = "Writing") -> T:
    return _with_database(lambda database: database.transaction(), work, what)


def _read(work: "Callable[[AsyncSession], Awaitable[T]]") -> T:
    return _with_database(lambda database: database.reading(), work, "Reading")


def _with_database(
    opened: "Callable[[Database], AbstractAsyncContextManager[AsyncSession]]",
    work: "Callable[[AsyncSession], Awaitable[T]]",
    what: str,
) -> T:
    from app.settings import Settings
    from app.tools import preflight

    settings = Settings.from_env(os.environ)

    async def run() -> T:
        await preflight.require_ready(settings)
        database = preflight.open_database(settings)
        try:
            async with opened(database) as session:
                return await work(session)
        finally:
            await database.close()

    with patience(what):
        return asyncio.run(run())


def _operator() -> "Actor":
    from app.audit.models import Actor

    try:
        login = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        login = str(os.getuid())
    return Actor(kind="system", id="cli", label=f"{login} (command line)")


def _ask_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    answer: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return answer


COMMANDS: tuple[click.Command, ...] = (tenant, user, token, destination, rekey)

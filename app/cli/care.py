"""Take care of the data: back it up, put it back."""

import os
from pathlib import Path

import click

from app.cli.patience import patience

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("file", type=FILE)
def backup(file: Path) -> None:
    """Write a checked copy of the database to FILE, while everything runs.

    The keys of ONEPROTECT_SECRET_KEYS are not in it: keep them elsewhere, or its secrets open for
    nobody. PostgreSQL needs pg_dump of the server's version or newer.
    """
    from app.settings import Settings
    from app.tools.backup import BackupError
    from app.tools.backup import backup as write

    settings = Settings.from_env(os.environ)
    try:
        with patience("Backing up") as tell:
            size = write(settings, file, tell)
    except BackupError as fault:
        raise click.ClickException(str(fault)) from None
    click.echo(f"{file}: {size:,} bytes, without the keys of ONEPROTECT_SECRET_KEYS")


@click.command()
@click.argument("file", type=FILE)
@click.option("--force", is_flag=True, help="Overwrite a database that is not empty.")
def restore(file: Path, force: bool) -> None:
    """Put the backup FILE back, all or nothing.

    Stop web and worker first. What was delivered after the backup was made is delivered again,
    with the same ids.
    """
    from app.settings import Settings
    from app.tools import schema
    from app.tools.backup import BackupError
    from app.tools.backup import restore as put_back

    settings = Settings.from_env(os.environ)
    try:
        with patience("Restoring") as tell:
            revision = put_back(settings, file, force=force, tell=tell)
    except BackupError as fault:
        raise click.ClickException(str(fault)) from None
    more = "; run: oneprotect migrate" if schema.judge(revision).pending else ", the newest"
    click.echo(f"restored {file}, schema {revision}{more}")


COMMANDS: tuple[click.Command, ...] = (backup, restore)

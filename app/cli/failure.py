"""Errors as one plain line for people at a terminal."""

import click

from app.errors import AppError, SettingsError

HINT = "; --debug shows where"


def describe(error: Exception) -> str:
    """Return one line: what was wrong and, where we know, what to do."""
    return " ".join(_text(error).split())


def _text(error: Exception) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, AppError):
        more = [one.message for one in error.errors if one.message != error.detail]
        return "; ".join([error.detail, *more])
    if isinstance(error, SettingsError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}"
    if isinstance(error, OSError):
        return str(error) or type(error).__name__
    return _database_text(error) or f"{type(error).__name__}: {error}{HINT}"


def _database_text(error: Exception) -> str:
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    if isinstance(error, DBAPIError):  # without the statement and its values
        return f"the database refused: {error.orig}"
    return f"the database: {error}" if isinstance(error, SQLAlchemyError) else ""

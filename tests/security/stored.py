"""Write to the database behind the product's back, as an old version or an attacker would have."""

import sqlite3
from typing import Any

import psycopg


def execute(url: str, statement: str, *values: Any) -> None:
    """Run one statement with `?` for each value, and commit."""
    if url.startswith("sqlite:///"):
        with sqlite3.connect(url.removeprefix("sqlite:///"), timeout=10) as sqlite:
            sqlite.execute(statement, values)
        sqlite.close()
        return
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.replace("?", "%s").encode(), values)

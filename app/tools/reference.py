"""The reference of the settings, made from their code: for people, for the README, for scripts."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from app.settings import DERIVED, MEANINGS, PREFIX, READERS, SECRET, Settings

HIDDEN: Final = "***"


class Line(msgspec.Struct, frozen=True):
    """One setting: its default and what holds here, both as one would write them."""

    name: str
    default: str
    value: str
    given: bool
    meaning: str


def lines(environ: Mapping[str, str]) -> list[Line]:
    """Describe every setting; SettingsError when one of those given is wrong."""
    settings, defaults = Settings.from_env(environ), Settings()
    return [
        Line(
            name=f"{PREFIX}{name}",
            default=DERIVED.get(name, written(getattr(defaults, name.lower()))),
            value=shown(name, written(getattr(settings, name.lower()))),
            given=bool(environ.get(f"{PREFIX}{name}", "").strip()),
            meaning=MEANINGS[name],
        )
        for name in READERS
    ]


def markdown() -> str:
    """Return the table that stands in the README."""
    rows = [f"| `{line.name}` | {_cell(line)} | {line.meaning} |" for line in lines(environ={})]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def _cell(line: Line) -> str:
    if line.name.removeprefix(PREFIX) in DERIVED:
        return line.default
    return f"`{line.default}`" if line.default else "empty"


def written(value: Any) -> str:
    """Return a value as it would stand in the environment."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case tuple():
            return ",".join(map(str, value))
    return str(value)


def shown(name: str, text: str) -> str:
    """Return a value without what is secret in it: whole ones, and a URL's password."""
    if name in SECRET:
        return HIDDEN if text else ""
    if "://" not in text or (parts := urlsplit(text)).scheme == "sqlite":
        return text
    place = parts.netloc
    if parts.password is not None:
        place = f"{parts.username}:{HIDDEN}@{place.rpartition('@')[2]}"
    # A query may hold a password as well, and nobody needs it to know which server this is.
    query = f"?{HIDDEN}" if parts.query else ""
    return f"{parts.scheme}://{place}{parts.path}{query}"

"""The rules of a destination in its form: rate, order, signature, own headers by name."""

from typing import Any

from app.crypto import Keyring
from app.destinations import service
from app.destinations.models import Destination
from app.portal.fields import whole_number

CHECKS = ("ordered", "asymmetric_signature", "trace_context")


def values_of(destination: Destination, keyring: Keyring) -> dict[str, str]:
    """Return what the form shows; of own headers the names, never the values."""
    return {
        "rate_limit_per_second": str(destination.rate_limit_per_second or ""),
        "ordered": "yes" if destination.ordered else "",
        "asymmetric_signature": "yes" if destination.asymmetric_signature else "",
        "trace_context": "yes" if destination.trace_context else "",
        "headers": "\n".join(service.header_names(destination, keyring)),
    }


def fields_of(typed: dict[str, str], destination: Destination, keyring: Keyring) -> dict[str, Any]:
    """Return the rules as the service checks them; a form without them changes none."""
    if "rules" not in typed:
        return {}
    fields: dict[str, Any] = {name: typed.get(name) == "yes" for name in CHECKS}
    # What is no number goes on as it is: the rule that refuses it names what is allowed.
    fields["rate_limit_per_second"] = whole_number(typed.get("rate_limit_per_second", ""))
    lines = _lines(typed.get("headers", ""))
    kept = sorted(name for name, value in lines if value is None)
    if [name for name, _ in lines] != kept or kept != service.header_names(destination, keyring):
        stored = service.headers_named(destination, keyring, kept)
        # A name that has no stored value is refused for its empty one.
        fields["headers"] = {
            name: stored.get(name, "") if value is None else value for name, value in lines
        }
    return fields


def without_values(typed: dict[str, str]) -> dict[str, str]:
    """Return what was typed, fit to be shown again: own headers often carry a key."""
    lines = _lines(typed.get("headers", ""))
    return typed | {"headers": "\n".join(name for name, _ in lines)}


def _lines(text: str) -> list[tuple[str, str | None]]:
    """Read `Name: value` lines; None for a name alone."""
    found: list[tuple[str, str | None]] = []
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if name.strip():
            found.append((name.strip(), value.strip() if colon else None))
    return found

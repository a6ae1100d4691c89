"""What an attempt sent, told afterwards: derived where it follows from the rows, never a secret.

Only what may have changed since is kept with the attempt: our version, which kinds of signature,
and the names of the tenant's own headers.
"""

import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from app.sending.custom_headers import is_forbidden
from app.sending.echo import HIDDEN
from app.sending.signing import delivery_headers
from app.sending.transport import PLAIN

#: A command line takes so much in one argument; a larger body is read from a file.
MAX_BODY_IN_SHELL: Final = 100_000
_SIGNATURES: Final = frozenset({"x-oneprotect-signature", "webhook-signature"})


class Sent(msgspec.Struct, frozen=True, omit_defaults=True, rename={"version": "v"}):
    """What is kept of a request: as little as lets the rest be told exactly."""

    version: str
    secrets: int = 1  # one `v1` signature for each
    keys: int = 0  # one `v1a` signature for each
    own: list[str] = []  # names of the tenant's own headers


def user_agent(version: str) -> str:
    return f"OneProtect-Webhooks/{version}"


def kept(version: str, *, secrets: int, keys: int, own: Mapping[str, str]) -> msgspec.Raw:
    """Return what to keep, as JSON that is made once for all attempts of a batch."""
    names = [name for name in own if not is_forbidden(name)]
    return msgspec.Raw(msgspec.json.encode(Sent(version, secrets, keys, names)))


def request_headers(
    *, event_id: str, event_type: str, number: int, started_at: datetime, sent: Sent | None
) -> dict[str, str]:
    """Return the headers of an attempt as they were sent, but for what is secret.

    Without `sent` (an attempt of an older version) what cannot be known is left out.
    """
    told = sent or Sent("")
    kinds = ["v1"] * told.secrets + ["v1a"] * told.keys
    headers = delivery_headers(
        message_id=event_id,
        event_type=event_type,
        attempt=number,
        timestamp=int(started_at.timestamp()),
        signature=" ".join(f"{kind},{HIDDEN}" for kind in kinds),
        user_agent=user_agent(told.version),
        extra=dict.fromkeys(told.own, HIDDEN),
    )
    if sent is None:
        headers = [pair for pair in headers if pair[0] != "User-Agent"]
    return dict([*headers, *PLAIN])


def as_curl(
    url: str, headers: Mapping[str, str], body: bytes | None, *, max_body: int = MAX_BODY_IN_SHELL
) -> str:
    """Write the request as a command for a shell; secrets are left for a person to fill in."""
    words = ["curl", "--globoff", "--include", "--request", "POST", shlex.quote(url)]
    lines = [" ".join(words)]
    lines += [
        f"--header {shlex.quote(f'{name}: {_placeholder(name, value)}')}"
        for name, value in headers.items()
    ]
    if body is None or len(body) > max_body:
        lines.append("--data-binary @payload.json")
    else:
        lines.append(f"--data-raw {shlex.quote(body.decode())}")
    return " \\\n  ".join(lines)


def _placeholder(name: str, value: str) -> str:
    if name.lower() in _SIGNATURES:
        return value.replace(HIDDEN, "SIGNATURE")
    return value.replace(HIDDEN, f"VALUE-OF-{name.upper()}")

"""The portal's cookies: all HttpOnly, SameSite=Lax, and locked to https outside development."""

import base64
from typing import Any, Final, Literal

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie

from app.crypto import UndecryptableError
from app.services import Services

SESSION: Final = "session"
#: What the sign-in form's token is bound to, while nobody is signed in.
VISIT: Final = "visit"
#: A sentence for the next page, such as "Destination saved."
NOTE: Final = "note"
THEME: Final = "theme"
#: A single sign-on on its way: what must come back with it, sealed.
TICKET: Final = "sign-on"
#: That this browser signed in to an account before, sealed.
DEVICE: Final = "device"

Name = Literal["session", "visit", "note", "theme", "sign-on", "device"]
Connection = ASGIConnection[Any, Any, Any, Any]
Http = Request[Any, Any, Any]


def services_of(connection: Connection) -> Services:
    found: Services = connection.app.state.services
    return found


def _full_name(connection: Connection, name: Name) -> str:
    # The prefix makes browsers refuse a cookie that a subdomain or plain http tries to plant.
    return f"__Host-{name}" if services_of(connection).settings.secure_cookies else name


def read(connection: Connection, name: Name) -> str:
    return connection.cookies.get(_full_name(connection, name), "")


def make(connection: Connection, name: Name, value: str, *, max_age_s: int | None = None) -> Cookie:
    """Return a cookie for this browser; without an age it ends with the browser."""
    return Cookie(
        key=_full_name(connection, name),
        value=value,
        max_age=max_age_s,
        path="/",
        secure=services_of(connection).settings.secure_cookies,
        httponly=True,
        samesite="lax",
    )


def gone(connection: Connection, name: Name) -> Cookie:
    return make(connection, name, "", max_age_s=0)


def read_sealed(connection: Connection, name: Name) -> bytes | None:
    """Return what we sealed into a cookie; None for one that we did not make."""
    try:
        sealed = base64.urlsafe_b64decode(read(connection, name))
        return services_of(connection).keyring.open(sealed, f"cookie {name}")
    except (ValueError, UndecryptableError):
        return None


def make_sealed(connection: Connection, name: Name, value: bytes, *, max_age_s: int) -> Cookie:
    sealed = services_of(connection).keyring.seal(value, f"cookie {name}")
    text = base64.urlsafe_b64encode(sealed).decode()
    return make(connection, name, text, max_age_s=max_age_s)

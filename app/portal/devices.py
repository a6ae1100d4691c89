"""Which browsers an account knows: they have their own brake, whatever others do to the account."""

import secrets
from typing import Final

import msgspec
from litestar.datastructures import Cookie

from app.portal import cookies
from app.portal.cookies import Http

KNOWN_FOR_S: Final = 180 * 86_400


class Device(msgspec.Struct, frozen=True):
    """A browser that has signed in to this account; the id tells it from others that have."""

    email: str
    id: str


def device_of(request: Http, email: str) -> str | None:
    """Return the browser's id if this account knows it."""
    raw = cookies.read_sealed(request, cookies.DEVICE)
    if raw is None:
        return None
    device = msgspec.json.decode(raw, type=Device)
    return device.id if device.email == email.strip().lower() else None


def remembered(request: Http, email: str) -> Cookie:
    """Return the cookie by which the account will know this browser."""
    found = device_of(request, email) or secrets.token_urlsafe(16)
    device = msgspec.json.encode(Device(email.strip().lower(), found))
    return cookies.make_sealed(request, cookies.DEVICE, device, max_age_s=KNOWN_FOR_S)

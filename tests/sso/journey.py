"""A person's way through single sign-on: the portal, the provider's own pages, and back."""

import re
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

from tests.portal.visitor import Visitor
from tests.sso.provider import CALLBACK, PASSWORD

HIDDEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


async def leave(visitor: Visitor, onward: str = "") -> str:
    """Press "Sign in with single sign-on"; return where that leads."""
    answer = await visitor.get(f"/login/sso?next={onward}")
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def at_the_provider(address: str, name: str) -> str:
    """Sign in on the provider's page; return the address that it sends the browser back to."""
    async with httpx.AsyncClient(trust_env=False) as browser:
        while True:
            answer = await browser.get(address)
            if answer.status_code == 200:
                form = {"username": name, "password": PASSWORD}
                form["csrfmiddlewaretoken"] = HIDDEN.search(answer.text)[1]  # type: ignore[index]  # there is one
                answer = await browser.post(address, data=form)
            assert answer.status_code == 302, answer.text
            address = urljoin(address, answer.headers["location"])
            if address.startswith(CALLBACK):
                return address


async def sign_in(visitor: Visitor, name: str, onward: str = "") -> httpx.Response:
    """Go all the way; return the portal's answer to who comes back."""
    return await visitor.get(await at_the_provider(await leave(visitor, onward), name))


def query_of(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}

"""A browser without JavaScript: cookies, forms with their hidden token, and htmx when asked."""

import html
import re
from types import TracebackType
from typing import Any, Self

import httpx
from litestar import Litestar

from app.identity.demo import DEMO_PASSWORD
from tests.world import World

TOKEN = re.compile(r'name="_csrf" value="([^"]*)"')
EMAILS = {
    "admin": "admin@acme.example",
    "operator": "operator@acme.example",
    "auditor": "auditor@acme.example",
    "neighbour": "admin@globex.example",
}


class Visitor:
    """One browser at one address. `get` and `post` follow no redirect."""

    def __init__(self, app: Litestar, address: str = "203.0.113.7") -> None:
        transport = httpx.ASGITransport(app, client=(address, 40000))  # type: ignore[arg-type]  # Litestar is an ASGI app
        self.http = httpx.AsyncClient(transport=transport, base_url="http://testserver")
        self.token = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.http.aclose()

    async def get(self, path: str, **more: Any) -> httpx.Response:
        answer = await self.http.get(path, **more)
        if own := answer.headers.get("x-form-token"):  # as app.js does with a refresh
            self.token = own
        elif found := TOKEN.search(answer.text):
            self.token = found[1]
        return answer

    async def post(
        self, path: str, fields: dict[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        """Send a form as the page's own form would."""
        answer = await self.http.post(path, data={"_csrf": self.token} | (fields or {}), **more)
        if found := TOKEN.search(answer.text):
            self.token = found[1]
        return answer

    async def sign_in(
        self, who: str = "admin", password: str = DEMO_PASSWORD, onward: str = ""
    ) -> httpx.Response:
        await self.get("/login")
        fields = {"email": EMAILS.get(who, who), "password": password, "next": onward}
        answer = await self.post("/login", fields)
        if answer.status_code == 303:
            await self.get("/settings")
        return answer


class Asked:
    """What `cookies` asks of a connection: this browser's cookies, and the application."""

    def __init__(self, world: World, visitor: Visitor) -> None:
        self.app = world.app
        self.cookies = dict(visitor.http.cookies)


def text_of(answer: httpx.Response) -> str:
    """What a person reads of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())


def navigation(answer: httpx.Response) -> list[str]:
    """The labels of the left navigation, in order."""
    part = re.search(r'<nav class="nav".*?</nav>', answer.text, re.DOTALL)
    return re.findall(r"<span>(\w+)</span>", part[0]) if part else []

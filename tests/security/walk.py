"""Look at all that an installation shows: GET routes as every role, pages, rows and files."""

import html
import re
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg import sql

from tests.security.needles import Haystack
from tests.world import TOKENS

_LINK = re.compile(r'(?:href|hx-get|action)="(/[^"#]*)"')
_CSRF = re.compile(r'name="_csrf"[^>]*value="([^"]+)"')
MAX_PAGES = 30
EXPORTS = [f"/api/v1/audit/export?format={kind}" for kind in ("ndjson", "csv")]


class Ids(dict[str, str]):
    """Values of path parameters; one that is not given is an id that never existed."""

    def __missing__(self, name: str) -> str:
        return f"{PREFIXES.get(name, 'x')}_01a20a832c15761bb947fd1efd468c2e"


PREFIXES = {
    "destination_id": "dst", "delivery_id": "dlv", "event_id": "evt", "token_id": "tok",
    "secret_id": "sec", "job_id": "job", "member_id": "usr", "session_id": "ses",
}  # fmt: skip


async def every_get_route(
    client: httpx.AsyncClient, ids: Ids, tokens: dict[str, str] | None = None
) -> list[tuple[str, str, httpx.Response]]:
    """Return (who, path, answer) for each documented GET route; `ids` fills path parameters."""
    document = (await client.get("/api/docs/openapi.json")).json()
    paths = [path.format_map(ids) for path, item in document["paths"].items() if "get" in item]
    assert len(paths) > 10
    answers = []
    for who, token in (tokens or TOKENS).items():
        for path in [*paths, *EXPORTS, "/api/docs"]:
            headers = {"Authorization": f"Bearer {token}"}
            answers.append((who, path, await client.get(path, headers=headers)))
    return answers


class Portal:
    """A browser without a screen: signs in, posts forms, follows every link once."""

    def __init__(self, base_url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.client = httpx.AsyncClient(
            base_url=base_url, transport=transport, trust_env=False, timeout=20
        )
        self._token = ""

    async def sign_in(self, email: str, password: str) -> httpx.Response:
        await self.client.get("/login")
        return await self.post("/login", page="/login", email=email, password=password)

    async def post(self, path: str, *, page: str, **fields: str) -> httpx.Response:
        """Send a form as the page that shows it would."""
        shown = (await self.client.get(page)).text
        token = _CSRF.search(shown)
        assert token is not None, shown
        self._token = html.unescape(token[1])
        return await self.client.post(path, data={"_csrf": self._token} | fields)

    async def send(self, path: str, **fields: str) -> httpx.Response:
        """Send one more form with the token of the page before."""
        return await self.client.post(path, data={"_csrf": self._token} | fields)

    async def every_page(self, start: str = "/integrations") -> dict[str, httpx.Response]:
        seen: dict[str, httpx.Response] = {}
        wanted = [start]
        while wanted and len(seen) < MAX_PAGES:
            path = wanted.pop(0)
            if path in seen or path.startswith(("/live", "/static", "/logout")):
                continue
            seen[path] = await self.client.get(path)
            wanted += [html.unescape(link) for link in _LINK.findall(seen[path].text)]
        return seen

    async def close(self) -> None:
        await self.client.aclose()


def every_row(url: str, haystack: Haystack) -> None:
    """Add all that the database holds: the files' bytes (SQLite), or each row as text."""
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        for file in path.parent.glob(f"{path.name}*"):
            haystack.add(f"file {file.name}", file.read_bytes())
        with sqlite3.connect(path) as sqlite:
            haystack.add("sqlite dump", "\n".join(sqlite.iterdump()))
        return
    with psycopg.connect(url) as connection:
        tables: list[Any] = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        assert {"saq", "public"} <= {schema for schema, _ in tables}
        for schema, table in tables:
            query = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(schema, table))
            rows = connection.execute(query).fetchall()
            haystack.add(f"table {schema}.{table}", "\n".join(row[0] for row in rows))

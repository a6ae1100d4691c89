"""What the first page costs a phone on a train: every byte that crosses the wire, compressed."""

import re

import httpx
import pytest

from tests.portal.visitor import Visitor
from tests.world import World

MOST_BYTES = 60_000
FILES = re.compile(r'(?:src|href)="(/static/[^"]+)"')


async def wire_bytes(visitor: Visitor, path: str) -> tuple[int, httpx.Headers, str]:
    """Return the size as sent, before decoding, with the answer's headers and text."""
    async with visitor.http.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    whole = httpx.Response(200, headers=answer.headers, content=raw)
    return len(raw), answer.headers, whole.text


async def test_the_first_page_with_all_its_files_is_light(admin: Visitor, world: World):
    for n in range(25):
        await world.make_destination(f"http://127.0.0.1:9/hook/{n}", name=f"Destination {n}")

    size, headers, page = await wire_bytes(admin, "/integrations")
    sizes = {"/integrations": size}
    files = sorted(set(FILES.findall(page)))
    for file in files:
        sizes[file], headers, _ = await wire_bytes(admin, file)
        assert "immutable" in headers["cache-control"], file
        assert headers.get("content-encoding") == "gzip" or sizes[file] < 600, file
        assert "accept-encoding" in headers.get("vary", "").lower() or sizes[file] < 600, file

    print(f"{sum(sizes.values()):,} bytes: {sizes}")
    assert len(files) >= 8
    assert sum(sizes.values()) <= MOST_BYTES


@pytest.mark.parametrize("path", ["/integrations", "/palette", "/settings"])
async def test_pages_are_compressed_and_never_stored(admin: Visitor, path: str):
    _, headers, _ = await wire_bytes(admin, path)

    assert headers["content-encoding"] == "gzip"
    assert headers["cache-control"] == "no-store"

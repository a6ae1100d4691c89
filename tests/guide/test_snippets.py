"""Each snippet of the receiver guide, run against a real delivery and against forgeries of it."""

import html
import re
from dataclasses import replace
from pathlib import Path

import pytest

from app.portal.guide import LANGUAGES, SNIPPETS
from app.sending.signing import Secret, signature
from tests.guide.drivers import DRIVERS, Request
from tests.portal.visitor import Visitor, text_of
from tests.receiver import Receiver
from tests.world import World

URL = "http://127.0.0.1:9/hook"


async def delivered(world: World) -> tuple[Request, str]:
    """Return a request off the wire, signed with two secrets and a key, and the older secret."""
    async with Receiver() as receiver:
        made = await world.make_destination(receiver.url, asymmetric_signature=True)
        path = f"/integrations/destinations/{made['id']}/rotate-secret"
        rotated = (await world.as_("acme_admin").post(path)).json()
        async with world.worker():
            await world.publish(data={"who": "Zoë", "line": "\u2028", "big": 2**60})
            (request,) = await receiver.wait_for(1)
    assert ["v1", "v1", "v1a"] == re.findall(r"(v1a?),", str(request.header("webhook-signature")))
    real = Request(rotated["signing_secret"], request.named, request.body)
    return real, str(made["signing_secret"])


def changed(one: Request, **headers: str | None) -> Request:
    """Return the request with other headers; None takes one away."""
    names = {f"X-OneProtect-{name.capitalize()}": value for name, value in headers.items()}
    merged = one.headers | names
    return replace(
        one, headers={name: value for name, value in merged.items() if value is not None}
    )


def moved(one: Request, by_s: int) -> Request:
    """Return the request as we would have signed it at another time."""
    at = int(one.headers["X-OneProtect-Timestamp"]) + by_s
    secret = Secret.parse(one.secret)
    signed = signature([secret], one.headers["X-OneProtect-Id"], at, one.body)
    return changed(one, timestamp=str(at), signature=signed)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_snippet_believes_what_we_sent_and_nothing_else(
    world: World, tmp_path: Path, language: str
) -> None:
    real, older = await delivered(world)
    lower = replace(real, headers={name.lower(): value for name, value in real.headers.items()})
    genuine = [real, replace(real, secret=older), lower, moved(real, -200), moved(real, 200)]
    forged = [
        replace(real, body=real.body + b" "),
        replace(real, secret=Secret.generate().reveal()),
        moved(real, -400),
        moved(real, 400),
        changed(real, id="evt_other"),
        changed(real, timestamp=str(int(real.headers["X-OneProtect-Timestamp"]) + 1)),
        changed(real, signature="v1,"),
        changed(real, signature="v1 v1a,x v2,y ü"),
        changed(real, signature=None),
        changed(real, timestamp=None),
        changed(real, timestamp="soon"),
    ]

    believed = DRIVERS[language](SNIPPETS[language], tmp_path, [*genuine, *forged])

    assert [True] * len(genuine) + [False] * len(forged) == believed


async def test_the_page_shows_the_very_snippets_that_were_run(world: World) -> None:
    async with Visitor(world.app) as visitor:
        await visitor.sign_in("operator")
        for language, name in LANGUAGES.items():
            page = await visitor.get(f"/guide?lang={language}")
            shown = re.search(r'<pre id="snippet"[^>]*>(.*?)</pre>', page.text, re.DOTALL)
            assert shown
            assert SNIPPETS[language] == html.unescape(shown[1])
            assert f'aria-current="true">{html.escape(name)}</a>' in page.text
        unknown = await visitor.get("/guide?lang=cobol")

    assert "hmac.compare_digest" in unknown.text
    assert "Send me a test" not in unknown.text


async def test_every_snippet_is_on_the_page_by_the_headers_that_we_send(world: World) -> None:
    real, _ = await delivered(world)

    for name, snippet in SNIPPETS.items():
        for header in ("X-OneProtect-Id", "X-OneProtect-Timestamp", "X-OneProtect-Signature"):
            assert header in real.headers
            suffix = header.removeprefix("X-OneProtect")
            assert header.lower() in snippet.lower() or suffix in snippet, (name, header)


async def test_an_admin_sends_a_test_from_the_guide(world: World) -> None:
    made = await world.make_destination(URL, headers={"X-Plant": "7"})
    await world.make_destination(URL, who="globex_admin", headers={"X-Foreign": "1"})
    async with Visitor(world.app) as visitor:
        await visitor.sign_in("admin")
        page = await visitor.get("/guide")
        sent = await visitor.post("/guide/test", {"destination": made["id"]})
        story = text_of(await visitor.get(sent.headers["location"]))
        lost = await visitor.post("/guide/test", {"destination": "dst_" + "0" * 32})

    assert "Send me a test" in page.text
    assert "X-Plant" in text_of(page)
    assert "X-Foreign" not in page.text
    assert sent.headers["location"].startswith(f"/integrations/{made['id']}?delivery=dlv_")
    assert "Test event sent." in story
    assert 404 == lost.status_code


async def test_every_page_links_to_the_guide(world: World) -> None:
    async with Visitor(world.app) as visitor:
        await visitor.sign_in("auditor")
        page = await visitor.get("/integrations")

    assert '<a href="/guide">Receiver guide</a>' in page.text

"""Pages that refresh themselves: read once for all who watch, and each let in by itself."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import event as sa_event

from app.portal import presence
from tests.conftest import ENGINES
from tests.portal.conftest import SignedIn
from tests.portal.visitor import TOKEN, Visitor
from tests.world import World

REFRESH = {"HX-Request": "true", "HX-Target": "live", "X-Background": "1"}
PATHS = ("/integrations", "/deliveries", "/events", "/audit")


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    """What is counted here are statements: on both engines."""
    return str(request.param)


@pytest.fixture
async def watched(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Have somebody watch the tenant, so that its changes are heard."""
    monkeypatch.setattr("app.live.TICK_GAP_S", 0.0)
    stream = world.services.hub.watch("acme")
    watching = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.3)  # the listener's own first tick
    yield
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
        await watching
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator


@contextlib.contextmanager
def counting(world: World) -> "contextlib._GeneratorContextManager[list[str]]":  # type: ignore[misc]
    statements: list[str] = []

    def remember(_c: object, _cursor: object, statement: str, *_: object) -> None:
        # What the world itself says of its changes is no page's doing.
        told = "pulse" in statement or "pg_notify" in statement
        if statement.startswith("SELECT") and not told:
            statements.append(statement)

    engine = world.database._readers.sync_engine
    sa_event.listen(engine, "before_cursor_execute", remember)
    yield statements
    sa_event.remove(engine, "before_cursor_execute", remember)


@pytest.mark.parametrize("path", PATHS)
async def test_many_viewers_cost_what_one_costs(
    world: World, signed_in: SignedIn, watched: None, path: str
) -> None:
    await world.make_destination("http://127.0.0.1:9/hook")
    async with signed_in("admin") as one, signed_in("admin") as two, signed_in("admin") as three:
        viewers = [one, two, three]
        for viewer in viewers:  # each is known from here on
            await viewer.get(path, headers=REFRESH)
        world.services.hub.tell("acme")
        with counting(world) as alone:
            await one.get(path, headers=REFRESH)
        world.services.hub.tell("acme")
        with counting(world) as together:
            answers = await asyncio.gather(*(v.get(path, headers=REFRESH) for v in viewers * 10))

    data = [s for s in alone if "portal_session" not in s]
    assert {200} == {answer.status_code for answer in answers}
    assert 0 < len(data) <= 10  # two sessions, and each first says its tenant
    assert len([s for s in together if "portal_session" not in s]) <= len(data)
    assert len([s for s in together if "portal_session" in s]) <= 1


async def test_all_of_a_role_get_the_same_bytes_and_each_the_token_of_their_own_forms(
    world: World, signed_in: SignedIn, watched: None
) -> None:
    await world.make_destination("http://127.0.0.1:9/hook")
    await world.publish()
    async with signed_in("admin") as one, signed_in("admin") as two:
        world.services.hub.tell("acme")
        pages = [await v.get("/deliveries?state=pending", headers=REFRESH) for v in (one, two)]
        tokens = [page.headers["x-form-token"] for page in pages]

        assert pages[0].content == pages[1].content
        assert {"of-the-page"} == set(TOKEN.findall(pages[0].text))
        assert tokens[0] != tokens[1]
        (delivery,) = re.findall(r'name="id" value="(dlv_\w+)"', pages[1].text)
        fields = {"do": "cancel-selected", "id": delivery}
        for foreign in ("of-the-page", tokens[0]):
            two.token = foreign
            assert 403 == (await two.post("/deliveries/bulk", fields)).status_code
        two.token = tokens[1]
        assert 303 == (await two.post("/deliveries/bulk", fields)).status_code


async def test_all_roles_cost_the_reads_of_one_and_the_views_of_a_tenant_share_its_health(
    world: World, signed_in: SignedIn, watched: None
) -> None:
    place = await world.make_destination("http://127.0.0.1:9/hook")
    paths = ["/integrations", "/integrations?q=x", f"/integrations/{place['id']}", "/deliveries"]
    async with contextlib.AsyncExitStack() as stack:
        roles = [await stack.enter_async_context(signed_in(r)) for r in ("admin", "operator")]
        for visitor in roles:
            await visitor.get("/integrations", headers=REFRESH)  # known from here on
        world.services.hub.tell("acme")
        with counting(world) as statements:
            asked = [v.get(path, headers=REFRESH) for v in roles for path in paths * 3]
            answers = await asyncio.gather(*asked)

    assert {200} == {answer.status_code for answer in answers}
    data = [s for s in statements if "portal_session" not in s and "set_config" not in s]
    # Health in five and the types; three for the destination, with its list; three for deliveries.
    assert len(data) <= 12, data
    assert 1 == len([s for s in data if "AS waiting" in s])


async def test_a_shared_answer_is_packed_for_those_who_unpack(
    world: World, signed_in: SignedIn, watched: None
) -> None:
    await world.make_destination("http://127.0.0.1:9/hook", name="Packed place")
    async with signed_in("admin") as one, signed_in("admin") as two:
        packed = await one.get("/integrations", headers=REFRESH | {"Accept-Encoding": "gzip"})
        plain = await two.get("/integrations", headers=REFRESH | {"Accept-Encoding": "identity"})

    assert "gzip" == packed.headers["content-encoding"]
    assert "content-encoding" not in plain.headers
    assert "Packed place" in packed.text
    assert "Packed place" in plain.text
    for answer in (packed, plain):
        assert "no-store" == answer.headers["cache-control"]
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("order", [1, -1])
async def test_roles_and_tenants_never_share(
    world: World, signed_in: SignedIn, watched: None, order: int
) -> None:
    await world.make_destination("http://127.0.0.1:9/hook", name="Of Acme")
    async with contextlib.AsyncExitStack() as stack:
        names = ["admin", "operator", "auditor", "neighbour"][::order]
        visitors = {name: await stack.enter_async_context(signed_in(name)) for name in names}
        asked = [v.get("/integrations", headers=REFRESH) for v in visitors.values() for _ in "ab"]
        answers = await asyncio.gather(*asked)  # all at once, as after a tick
    pages = dict(
        zip([name for name in names for _ in "ab"], [a.text for a in answers], strict=True)
    )

    assert "Create destination" in pages["admin"]
    assert "Create destination" not in pages["operator"]
    assert "Create destination" not in pages["auditor"]
    assert "Of Acme" in pages["operator"]
    assert "Of Acme" in pages["auditor"]
    assert "Of Acme" not in pages["neighbour"]


async def test_two_tenants_that_are_watched_at_once_see_their_own_alone(
    world: World, signed_in: SignedIn, watched: None
) -> None:
    place = await world.make_destination("http://127.0.0.1:9/hook", name="Of Acme")
    neighbours = world.services.hub.watch("globex")
    watching = asyncio.ensure_future(anext(neighbours))
    await asyncio.sleep(0)
    async with signed_in("admin") as ours, signed_in("neighbour") as theirs:
        for path in (*PATHS, "/integrations?q=Of"):
            for _ in range(2):  # the second time from what is kept
                own, foreign = await asyncio.gather(
                    ours.get(path, headers=REFRESH), theirs.get(path, headers=REFRESH)
                )
                assert (200, 200) == (own.status_code, foreign.status_code)
                assert "Of Acme" not in foreign.text
        address = f"/integrations/{place['id']}"
        own, foreign = await asyncio.gather(
            ours.get(address, headers=REFRESH), theirs.get(address, headers=REFRESH)
        )
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
        await watching
    await neighbours.aclose()  # type: ignore[attr-defined]  # an async generator

    assert (200, 404) == (own.status_code, foreign.status_code)
    assert "Of Acme" in own.text
    assert "Of Acme" not in foreign.text


async def test_what_a_role_may_not_open_is_refused_although_another_role_has_it_kept(
    signed_in: SignedIn, watched: None
) -> None:
    async with signed_in("admin") as admin, signed_in("operator") as operator:
        kept = await admin.get("/audit", headers=REFRESH)
        refused = await operator.get("/audit", headers=REFRESH)

    assert (200, 403) == (kept.status_code, refused.status_code)


async def test_a_page_about_a_person_is_never_shared(signed_in: SignedIn, watched: None) -> None:
    async with signed_in("admin") as one, signed_in("admin") as two:
        pages = [await visitor.get("/settings", headers=REFRESH) for visitor in (one, two)]

    assert "x-form-token" not in pages[0].headers
    assert set(TOKEN.findall(pages[0].text)).isdisjoint(TOKEN.findall(pages[1].text))


async def test_one_whose_session_ends_does_not_send_the_others_away(
    world: World, signed_in: SignedIn, watched: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "CHECKED_S", 0.0)
    async with signed_in("admin") as leaving, signed_in("operator") as staying:
        for visitor in (leaving, staying):
            await visitor.get("/integrations", headers=REFRESH)
        await leaving.post("/logout", fields={})
        world.services.hub.tell("acme")
        gone, kept = await asyncio.gather(
            leaving.get("/integrations", headers=REFRESH),
            staying.get("/integrations", headers=REFRESH),
        )

    assert (401, 200) == (gone.status_code, kept.status_code)


async def test_a_change_shows_in_the_next_refresh(
    world: World, admin: Visitor, watched: None
) -> None:
    before = await admin.get("/integrations", headers=REFRESH)
    await world.make_destination("http://127.0.0.1:9/hook", name="Fresh place")

    async def shows() -> bool:
        return "Fresh place" in (await admin.get("/integrations", headers=REFRESH)).text

    assert "Fresh place" not in before.text
    await world.until(shows, within_s=3)


async def test_a_page_asked_for_by_hand_is_never_a_kept_one(
    world: World, admin: Visitor, watched: None
) -> None:
    await admin.get("/integrations", headers=REFRESH)
    await world.make_destination("http://127.0.0.1:9/hook", name="Fresh place")

    assert "Fresh place" in (await admin.get("/integrations")).text


async def test_who_signed_out_refreshes_no_more(signed_in: SignedIn, watched: None) -> None:
    async with signed_in("admin") as visitor:
        cookie = visitor.http.cookies["session"]
        assert 200 == (await visitor.get("/integrations", headers=REFRESH)).status_code
        await visitor.post("/logout")
        visitor.http.cookies.set("session", cookie)

        refused = await visitor.get("/integrations", headers=REFRESH)

    assert 401 == refused.status_code
    assert "/login" in refused.headers["hx-redirect"]


async def test_a_session_that_ended_elsewhere_is_believed_for_a_moment_only(
    world: World, signed_in: SignedIn, watched: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with signed_in("admin") as visitor:
        await visitor.get("/integrations", headers=REFRESH)
        async with world.database.begin() as c:
            await c.exec_driver_sql("DELETE FROM portal_session")
        by_hand = await visitor.get("/integrations")
        monkeypatch.setattr(presence, "CHECKED_S", 0.0)
        refused = await visitor.get("/integrations", headers=REFRESH)

    assert 303 == by_hand.status_code
    assert 401 == refused.status_code

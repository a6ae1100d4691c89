"""Lists a page at a time: every item once, in order, whatever happens meanwhile."""

from typing import Any

from tests.world import World

URL = "https://93.184.216.34/hook"
LISTS = ("/integrations/destinations", "/integrations/deliveries", "/events", "/audit")


async def walk(world: World, path: str, limit: int, who: str = "acme_admin") -> list[list[Any]]:
    """Return the pages of a list, following its cursors to the end."""
    pages, cursor = [], None
    while True:
        query = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        answer = await world.as_(who).get(path, params=query)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        pages.append(body["items"])
        cursor = body["next_cursor"]
        if cursor is None:
            return pages
        assert len(pages) < 100


async def fill(world: World) -> None:
    for who in ("acme_admin", "globex_admin"):
        for number in range(7):
            await world.make_destination(URL, who=who, name=f"d{number}", event_types=["none"])
        await world.make_destination(URL, who=who)
        for number in range(7):
            await world.publish(who=who, data={"n": number})


async def test_walking_all_pages_shows_every_item_once_newest_first(world: World) -> None:
    await fill(world)

    for path in LISTS:
        everything = (await walk(world, path, 200))[0]
        ids = [item["id"] for item in everything]
        assert ids == sorted(ids, reverse=True)
        for limit in (1, 3, 7, len(ids) - 1, len(ids)):
            pages = await walk(world, path, limit)
            assert everything == [item for page in pages for item in page], (path, limit)
            assert all(len(page) == limit for page in pages[:-1])


async def test_what_comes_meanwhile_neither_shifts_nor_repeats_a_page(world: World) -> None:
    for number in range(6):
        await world.publish(data={"n": number})
    admin = world.as_("acme_admin")

    first = (await admin.get("/events?limit=3")).json()
    await world.publish()
    second = (await admin.get(f"/events?limit=3&cursor={first['next_cursor']}")).json()

    seen = [item["id"] for item in first["items"] + second["items"]]
    assert (6, 6, None) == (len(seen), len(set(seen)), second["next_cursor"])


async def test_a_malformed_cursor_is_refused(world: World) -> None:
    odd = (
        "",
        "x",
        "-1",
        "1.5",
        "evt_",
        "dlv_" + "0" * 31,
        "dlv_" + "G" * 32,
        "9" * 19,
        "%00",
        "a" * 65,
    )
    for path in LISTS:
        for cursor in odd:
            answer = await world.as_("acme_admin").get(f"{path}?cursor={cursor}")
            assert answer.status_code == 400, (path, cursor)
            assert [
                {"field": "cursor", "message": "cursor must be a next_cursor of this list"}
            ] == (answer.json()["errors"])


async def test_a_cursor_of_another_list_is_refused(world: World) -> None:
    await fill(world)
    cursors = {}
    for path in LISTS:
        answer = await world.as_("acme_admin").get(f"{path}?limit=1")
        cursors[path] = answer.json()["next_cursor"]

    for path in LISTS:
        for other in LISTS:
            answer = await world.as_("acme_admin").get(f"{path}?cursor={cursors[other]}")
            assert (200 if path == other else 400) == answer.status_code, (path, other)


async def test_a_cursor_of_another_tenant_opens_nothing_of_theirs(world: World) -> None:
    await fill(world)

    for path in LISTS:
        ours = {item["id"] for page in await walk(world, path, 200) for item in page}
        theirs = (await world.as_("globex_admin").get(f"{path}?limit=1")).json()["next_cursor"]
        answer = await world.as_("acme_admin").get(f"{path}?cursor={theirs}")
        assert {item["id"] for item in answer.json()["items"]} <= ours


async def test_filters_narrow_every_page(world: World) -> None:
    await fill(world)
    one = (await world.deliveries(limit=1))[0]
    admin = world.as_("acme_admin")

    for name in ("destination_id", "event_id", "event_type", "state"):
        pages = await walk_filtered(world, name, one[name])
        assert pages
        assert {one[name]} == {item[name] for item in pages}
    for name, value in (("destination_id", "x"), ("outcome", "gone"), ("state", "failed")):
        answer = await admin.get("/integrations/deliveries", params={name: value})
        assert [] == answer.json()["items"]


async def walk_filtered(world: World, name: str, value: str) -> list[dict[str, Any]]:
    answer = await world.as_("acme_admin").get("/integrations/deliveries", params={name: value})
    return list(answer.json()["items"])


async def test_a_range_of_time_holds_what_was_made_in_it(world: World) -> None:
    await world.make_destination(URL)
    for number in range(3):
        await world.publish(data={"n": number})

    for path in ("/integrations/deliveries", "/events", "/audit"):
        everything = (await walk(world, path, 200))[0]
        stamp = "at" if path == "/audit" else "created_at"
        middle = everything[len(everything) // 2][stamp]
        admin = world.as_("acme_admin")
        before = (await admin.get(path, params={"before": middle})).json()["items"]
        after = (await admin.get(path, params={"after": middle})).json()["items"]
        assert everything == after + before, path

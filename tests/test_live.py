"""The live hub: a change in one process is heard in another within a second, by its tenant only."""

import asyncio
import contextlib

import pytest

from app.database import Database
from app.live import LiveHub
from app.wakeup import Bell, Coalesced
from tests.world import World


async def _next_tick(hub: LiveHub, tenant_id: str, *, within_s: float) -> bool:
    stream = hub.watch(tenant_id)
    try:
        async with asyncio.timeout(within_s):
            return await anext(stream)
    except TimeoutError:
        return False
    finally:
        await stream.aclose()  # type: ignore[attr-defined]  # an async generator


async def test_a_change_told_by_another_process_reaches_the_watchers_of_its_tenant(
    world: World,
) -> None:
    hub = world.services.hub
    worker = Database(world.url)
    async with Bell(worker, queue=None) as bell:
        await _next_tick(hub, "acme", within_s=0.6)  # the listener's own first tick
        ours = asyncio.create_task(_next_tick(hub, "acme", within_s=2))
        theirs = asyncio.create_task(_next_tick(hub, "globex", within_s=1))
        await asyncio.sleep(0.3)

        began = asyncio.get_running_loop().time()
        bell.changed({"acme"})

        assert await ours
        assert asyncio.get_running_loop().time() - began < 1.0
        assert not await theirs
    await worker.close()


async def test_publishing_ticks_the_tenants_watchers(world: World) -> None:
    hub = world.services.hub
    await _next_tick(hub, "acme", within_s=0.6)
    watching = asyncio.create_task(_next_tick(hub, "acme", within_s=2))
    await asyncio.sleep(0.05)

    await world.publish()

    assert await watching


async def test_closing_the_hub_ends_every_stream(world: World) -> None:
    hub = LiveHub(world.database)
    await hub.open()

    async def watch() -> int:
        return len([tick async for tick in hub.watch("acme")])

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.05)
    assert 1 == hub.watchers

    await hub.close()
    await hub.close()

    async with asyncio.timeout(1):
        await watching
    assert 0 == hub.watchers


async def test_calls_that_come_together_are_coalesced_and_none_is_forgotten() -> None:
    calls: list[int] = []

    async def action() -> None:
        calls.append(1)
        await asyncio.sleep(0.02)

    coalesced = Coalesced(action, gap_s=0.01)
    for _ in range(100):
        coalesced.call()
    await asyncio.sleep(0.01)
    coalesced.call()  # comes while the first runs: one more must follow
    await asyncio.sleep(0.15)
    await coalesced.close()

    assert 2 == len(calls)


async def test_a_hint_that_fails_is_dropped_and_the_next_one_goes_through() -> None:
    calls: list[int] = []

    async def action() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError

    coalesced = Coalesced(action, gap_s=0.0)
    coalesced.call()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            await asyncio.Event().wait()
    coalesced.call()
    await asyncio.sleep(1.2)
    await coalesced.close()

    assert 2 == len(calls)


async def test_what_many_ask_for_is_made_once_until_the_next_change(world: World) -> None:
    hub, made = LiveHub(world.database), 0

    async def make() -> int:
        nonlocal made
        made += 1
        await asyncio.sleep(0.01)
        return made

    stream = hub.watch("acme")
    watching = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)

    first = await asyncio.gather(*(hub.once("acme", "page", make) for _ in range(50)))
    other = await hub.once("acme", "another page", make)
    hub.tell("globex")
    again = await hub.once("acme", "page", make)
    hub.tell("acme")
    after = await asyncio.gather(*(hub.once("acme", "page", make) for _ in range(50)))

    assert ({1}, 2, 1, {3}) == (set(first), other, again, set(after))
    await watching
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator


async def test_many_changes_are_few_ticks_and_the_last_one_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.live.TICK_GAP_S", 0.1)
    hub, ticks = LiveHub(world.database), 0
    stream = hub.watch("acme")

    async def count() -> None:
        nonlocal ticks
        async for _ in stream:
            ticks += 1

    watching = asyncio.create_task(count())
    await asyncio.sleep(0)
    for _ in range(40):
        told_while_changing = ticks  # before the last one is told
        hub.tell("acme")
        await asyncio.sleep(0.002)
    await asyncio.sleep(0.3)

    assert 1 <= told_while_changing < ticks <= 12
    await hub.close()
    await watching


async def test_a_crowd_is_told_in_turn_and_everybody_is(world: World) -> None:
    hub, told = LiveHub(world.database), 0

    async def watch() -> None:
        nonlocal told
        async for _ in hub.watch("acme"):
            told += 1

    crowd = [asyncio.create_task(watch()) for _ in range(120)]
    await asyncio.sleep(0.05)
    hub.tell("acme")
    for _ in range(3):
        await asyncio.sleep(0)
    told_at_once = told
    await asyncio.sleep(0.3)

    assert (50, 120) == (told_at_once, told)
    await hub.close()
    await asyncio.gather(*crowd)


async def test_nothing_is_kept_for_a_tenant_whose_changes_nobody_hears(world: World) -> None:
    hub, made = LiveHub(world.database), 0

    async def make() -> int:
        nonlocal made
        made += 1
        return made

    assert [1, 2] == [await hub.once("acme", "page", make) for _ in range(2)]


async def test_what_failed_is_made_anew_for_the_next(world: World) -> None:
    hub, made = LiveHub(world.database), 0

    async def make() -> int:
        nonlocal made
        made += 1
        if made == 1:
            raise ConnectionError
        return made

    stream = hub.watch("acme")
    watching = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    with contextlib.suppress(ConnectionError):
        await hub.once("acme", "page", make)

    assert 2 == await hub.once("acme", "page", make)
    hub.tell("acme")
    await watching
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator

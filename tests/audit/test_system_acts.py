"""What the system does by itself stands in the trail under its own name."""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import select, update

from app.audit.models import AuditEntry
from app.crypto import Keyring
from app.database import utcnow
from app.deliveries import retention, watch
from app.destinations import resealing
from app.destinations.models import Lane
from app.runtime import egress_of
from app.sending.transport import Sender
from app.wakeup import Bell
from app.worker import Office
from tests.behaviours import answer
from tests.receiver import Receiver
from tests.world import World

URL = "https://93.184.216.34/hook"


async def acts(world: World, action: str, tenant: str = "acme") -> list[tuple[str, str, str, Any]]:
    query = select(AuditEntry).where(AuditEntry.tenant_id == tenant, AuditEntry.action == action)
    async with world.database.reading() as session:
        found = (await session.execute(query)).scalars()
        return [(e.actor_kind, e.actor_id, e.target_kind, e.changes) for e in found]


@contextlib.asynccontextmanager
async def office(world: World, **settings: Any) -> AsyncIterator[Office]:
    """Yield a worker's office that does nothing by itself."""
    changed = msgspec.structs.replace(world.settings, **settings)
    sender = Sender(egress_of(changed).policy, timeout_s=1, resolver=None)
    async with Bell(world.database, queue=None) as bell:
        yield Office(changed, world.database, sender, world.keyring, bell)
    await sender.aclose()


async def test_a_destination_that_only_failed_is_disabled_by_the_system(world: World) -> None:
    await world.make_destination(URL)
    long_ago = utcnow() - timedelta(days=6)
    async with world.database.transaction() as session:
        await session.execute(update(Lane).values(failing_since=long_ago, consecutive_failures=9))

    await watch.look(world.database, world.services.store)

    reason = {"reason": "nothing but failure for 5 days"}
    assert [("system", "system", "destination", reason)] == await acts(
        world, "destination.disabled"
    )


async def test_a_receiver_that_is_gone_is_disabled_by_the_system(world: World) -> None:
    async with Receiver(answer(410)) as receiver, world.worker():
        await world.make_destination(receiver.url)
        await world.publish()
        await world.until(lambda: acts(world, "destination.disabled"))

    assert [("system", "system", "destination", {"reason": "410 Gone"})] == await acts(
        world, "destination.disabled"
    )


async def test_retention_of_data_is_an_act_of_the_system(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with office(world) as ours:
        await ours.retention({})
        assert [] == await acts(world, "data.pruned", "platform")
        await world.make_destination(URL)
        rotated = "/integrations/destinations/{}/rotate-secret".format(
            (await world.as_("acme_admin").get("/integrations/destinations")).json()["items"][0][
                "id"
            ]
        )
        await world.as_("acme_admin").post(rotated, json={"overlap_seconds": 0})
        await ours.retention({})

    ((kind, actor, target, changes),) = await acts(world, "data.pruned", "platform")
    assert ("system", "system", "installation") == (kind, actor, target)
    assert (90, 1) == (changes["days"], changes["removed"]["signing_secret"])


async def test_retention_of_the_trail_is_an_act_of_the_system_and_has_days_of_its_own(
    world: World,
) -> None:
    await world.make_destination(URL)
    async with office(world, retention_days=1, audit_retention_days=2) as ours:
        await ours.prune_audit({})
        assert [] == await acts(world, "audit.pruned")
        await retention.run(world.database, days=1)
        assert [] == await acts(world, "audit.pruned")
    async with office(world, audit_retention_days=0) as ours:
        await ours.prune_audit({})

    ((kind, actor, target, changes),) = await acts(world, "audit.pruned")
    assert ("system", "system", "audit") == (kind, actor, target)
    assert changes["entries"] > 0
    assert (await world.as_("acme_auditor").get("/audit/verify")).json()["intact"]


async def test_sealing_the_stored_secrets_anew_is_an_act_of_the_system(world: World) -> None:
    await world.make_destination(URL, headers={"X-Key": "k"}, asymmetric_signature=True)
    await world.make_destination(URL, who="globex_admin")
    old = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

    async with world.database.transaction() as session:
        await resealing.rekey(session, Keyring.from_texts(["A" * 43 + "=", old]))

    found = {
        who: await acts(world, "secrets.rekeyed", who) for who in ("acme", "globex", "platform")
    }
    assert found == {
        "acme": [("system", "system", "secrets", {"sealed": 2})],
        "globex": [("system", "system", "secrets", {"sealed": 1})],
        "platform": [("system", "system", "secrets", {"sealed": 1})],
    }


async def test_the_worker_seals_the_trails(world: World) -> None:
    async with office(world) as ours:
        await ours.seal_audit({})

    verdict = (await world.as_("acme_auditor").get("/audit/verify")).json()
    assert (True, verdict["entries"]) == (verdict["intact"], verdict["sealed"])

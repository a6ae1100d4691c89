"""Every route of the API as every role, generated from the routes: none can be forgotten."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from sqlalchemy import select

from app.api import Limits
from app.api.limits import Rate
from app.database import utcnow
from app.deliveries.models import Attempt
from app.identity import service
from app.identity.models import Member
from app.identity.permissions import RIGHTS, Permission, Role
from tests import summary
from tests.world import World

#: Routes that ask for no token. Anything else outside the API is the portal's.
PUBLIC = {
    "/health/live",
    "/health/ready",
    "/metrics",
    "/api/docs",
    "/api/docs/openapi.json",
    "/api/docs/swagger/{file_path:path}",
    "/api/docs/{path:str}",  # what is not there
}
ROLES = {
    "acme_admin": Role.TENANT_ADMIN,
    "acme_operator": Role.OPERATOR,
    "acme_auditor": Role.AUDITOR,
    "platform": Role.PLATFORM,
}
#: What contract 3 says each role may do, apart from the code that says so too.
CONTRACT: dict[Permission, set[Role]] = {
    Permission.AUDIT_READ: {Role.TENANT_ADMIN, Role.AUDITOR},
    Permission.DELIVERY_CHANGE: {Role.TENANT_ADMIN},
    Permission.DELIVERY_READ: {Role.TENANT_ADMIN, Role.OPERATOR, Role.AUDITOR},
    Permission.DESTINATION_CHANGE: {Role.TENANT_ADMIN},
    Permission.DESTINATION_READ: {Role.TENANT_ADMIN, Role.OPERATOR, Role.AUDITOR},
    Permission.EVENT_PUBLISH: {Role.TENANT_ADMIN, Role.PLATFORM},
    Permission.EVENT_READ: {Role.TENANT_ADMIN, Role.OPERATOR, Role.AUDITOR},
    Permission.EVENT_TYPE_CHANGE: {Role.TENANT_ADMIN, Role.PLATFORM},
    Permission.EVENT_TYPE_READ: set(Role),
    Permission.PAYLOAD_READ: {Role.TENANT_ADMIN, Role.OPERATOR},
    Permission.SELF_READ: set(Role),
    Permission.TENANT_MANAGE: {Role.TENANT_ADMIN},
}
URL = "https://93.184.216.34/hook"


class Route:
    """One method of one path, with the right that it declares."""

    def __init__(self, method: str, path: str, handler: HTTPRouteHandler) -> None:
        self.method, self.path = method, path
        self.permission: Permission | None = handler.opt.get("permission")

    @property
    def takes_an_id(self) -> bool:
        return "{" in self.path

    def at(self, ids: dict[str, str]) -> str:
        path = self.path.removeprefix("/api/v1")
        for name, value in ids.items():
            path = path.replace(f"{{{name}:str}}", value)
        assert "{" not in path, f"{self.path} takes an id that this test knows nothing of"
        return path

    def __repr__(self) -> str:
        return f"{self.method} {self.path}"


def routes_of(app: Litestar, prefix: str) -> Iterator[Route]:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            for method in sorted(set(handler.http_methods) - {"OPTIONS"}):
                if route.path.startswith(prefix):
                    yield Route(str(method), route.path, handler)


@pytest.fixture
def patient(world: World) -> World:
    """Ask far more often than anyone should."""
    world.app.state.limits = Limits(*[Rate(burst=10**6, per_s=10**6)] * 3)
    return world


async def ids_of(world: World, who: str) -> dict[str, str]:
    """Make one of everything that has an id in this one's tenant."""
    destination = await world.make_destination(URL, who=who)
    event = await world.publish(who=who)
    (delivery,) = await world.deliveries(who=who, event_id=event["id"])
    await _attempted(world, who.partition("_")[0], delivery["id"])
    token = await world.as_(who).post("/tokens", json={"name": "x", "role": "operator"})
    ids = {
        "destination_id": destination["id"],
        "delivery_id": delivery["id"],
        "event_id": event["id"],
        "token_id": token.json()["id"],
        "member_id": await _member_of(world, who),
        "session_id": await _session_of(world, who),
    }
    base = f"/integrations/destinations/{destination['id']}"
    await world.as_(who).post(f"{base}/rotate-secret")
    secrets = await world.as_(who).get(f"{base}/secrets")
    ids["secret_id"] = secrets.json()["items"][0]["id"]
    ids["event_type"] = f"seen_by.{who}"
    await world.as_(who).request("PUT", f"/event-types/{ids['event_type']}", json={})
    path = f"{base}/replay"
    replay = await world.as_(who).post(path, json={"since": destination["created_at"]})
    return ids | ({"job_id": replay.json()["id"]} if replay.status_code == 202 else {})


async def _attempted(world: World, tenant_id: str, delivery_id: str) -> None:
    async with world.database.transaction() as session:
        session.add(
            Attempt(
                tenant_id=tenant_id, delivery_id=delivery_id, number=1, trigger="scheduled",
                started_at=utcnow(), duration_ms=1, outcome="http_error",
            )
        )  # fmt: skip


async def _member_of(world: World, who: str) -> str:
    person = {"email": f"{uuid4().hex}@{who}.example", "role": "operator"}
    return str((await world.as_(who).post("/members", json=person)).json()["id"])


async def _session_of(world: World, who: str) -> str:
    """Sign somebody in who is not the member that the walk removes."""
    tenant = who.partition("_")[0]
    async with world.database.transaction() as session:
        query = select(Member).where(Member.email == f"admin@{tenant}.example")
        admin = (await session.execute(query)).scalar_one()
        await service.open_session(session, admin, address="", user_agent="")
    listed = await world.as_(who).get("/sessions")
    return str(listed.json()["items"][0]["id"])


def test_the_table_of_rights_is_the_one_of_the_contract() -> None:
    assert set(CONTRACT) == set(Permission)
    for permission, roles in CONTRACT.items():
        assert roles == {role for role in Role if permission in RIGHTS[role]}, permission


async def test_every_route_declares_a_right(world: World) -> None:
    routes = list(routes_of(world.app, "/api/v1"))

    assert len(routes) >= 25
    assert [] == [route for route in routes if not isinstance(route.permission, Permission)]


async def test_what_needs_no_token_is_listed(world: World) -> None:
    system = {
        route.path
        for prefix in ("/health", "/metrics", "/api", "/.well-known")
        for route in routes_of(world.app, prefix)
        if not route.path.startswith("/api/v1")
    }

    assert system - {"/.well-known/webhooks-keys.json"} == PUBLIC


async def test_without_a_token_every_route_is_401(patient: World) -> None:
    names = (
        "destination_id", "delivery_id", "event_id", "token_id", "job_id", "secret_id",
        "member_id", "session_id", "event_type",
    )  # fmt: skip
    ids = dict.fromkeys(names, "x")
    for route in routes_of(patient.app, "/api/v1"):
        for headers in ({}, {"Authorization": "Bearer op_nobody"}):
            path = f"/api/v1{route.at(ids)}"
            answer = await patient.client.request(route.method, path, headers=headers)
            assert 401 == answer.status_code, route


async def test_every_route_opens_for_exactly_the_roles_that_hold_its_right(
    patient: World,
) -> None:
    """Order: what takes something away comes last, so that ids stay good while they are needed."""
    ids = await ids_of(patient, "acme_admin")
    await patient.as_("platform").request("PUT", f"/event-types/{ids['event_type']}", json={})
    routes = sorted(
        routes_of(patient.app, "/api/v1"),
        key=lambda r: (r.method == "DELETE", -r.path.count("{"), r.path),
    )
    refused = 0
    for route in routes:
        for who, role in reversed(ROLES.items()):
            answer = await patient.as_(who).request(route.method, route.at(ids))
            allowed = route.permission in RIGHTS[role]
            refused += not allowed
            assert (answer.status_code != 403) == allowed, (route, who, answer.text)
            assert answer.status_code not in {401, 404, 405, 500}, (route, who, answer.text)

    size = f"{len(routes)} routes x {len(ROLES)} roles = {len(routes) * len(ROLES)}, 403: {refused}"
    summary.tell("figures", f"roles: {size}")
    assert refused > len(routes)


async def test_another_tenants_id_answers_as_one_that_never_existed(patient: World) -> None:
    ids = await ids_of(patient, "globex_admin")
    never = {name: value[:-6] + "0a0b0c" for name, value in ids.items()}
    routes = [
        route
        for route in routes_of(patient.app, "/api/v1")
        # A type's name is nobody's: to describe it makes an entry of one's own.
        if route.takes_an_id and route.method != "PUT"
    ]
    asked = 0
    for route in routes:
        for who, role in ROLES.items():
            if route.permission not in RIGHTS[role]:
                continue
            body = _body(route)
            foreign, nothing = [
                await patient.as_(who).request(route.method, route.at(which), json=body)
                for which in (ids, never)
            ]
            assert (404, 404) == (foreign.status_code, nothing.status_code), (route, who)
            assert foreign.content == nothing.content, (route, who)
            asked += 1

    size = f"{len(routes)} routes with an id, {asked} asked for another tenant's"
    summary.tell("figures", f"isolation: {size}")
    assert asked >= len(routes)


def _body(route: Route) -> dict[str, Any] | None:
    if route.path.endswith("/replay"):
        return {"since": "2026-01-01T00:00:00Z"}
    return {"name": "taken over"} if route.method == "PATCH" else None


async def test_nothing_of_another_tenant_stands_in_any_list(patient: World) -> None:
    theirs = await ids_of(patient, "globex_admin")
    await ids_of(patient, "acme_admin")
    lists = [
        r for r in routes_of(patient.app, "/api/v1") if r.method == "GET" and not r.takes_an_id
    ]

    for route in lists:
        for who in ("acme_admin", "acme_operator", "acme_auditor"):
            answer = await patient.as_(who).get(route.at({}))
            for value in (*theirs.values(), "globex"):
                assert value not in answer.text, (route, who)


async def test_filters_by_another_tenants_ids_find_nothing(patient: World) -> None:
    theirs = await ids_of(patient, "globex_admin")
    admin = patient.as_("acme_admin")

    for path in (
        f"/integrations/deliveries?destination_id={theirs['destination_id']}",
        f"/integrations/deliveries?event_id={theirs['event_id']}",
        f"/audit?target={theirs['destination_id']}",
    ):
        assert [] == (await admin.get(path)).json()["items"], path


async def test_only_admins_see_addresses_and_auditors_see_no_payload(world: World) -> None:
    from tests.receiver import Receiver

    async with Receiver() as receiver:
        await world.make_destination(receiver.url)
        async with world.worker():
            event = await world.publish(data={"secret": "plan-b"})
            (delivery,) = await world.until(lambda: world.deliveries(state="delivered"))

    seen = {}
    for who in ("acme_admin", "acme_operator", "acme_auditor"):
        (attempt,) = (await world.delivery(delivery["id"], who))["attempts"]
        read = (await world.as_(who).get(f"/events/{event['id']}")).json()
        payload = read["payload"]
        seen[who] = (attempt["resolved_address"], payload and payload["data"])

    assert seen == {
        "acme_admin": ("127.0.0.1", {"secret": "plan-b"}),
        "acme_operator": (None, {"secret": "plan-b"}),
        "acme_auditor": (None, None),
    }

"""The audit trail: every change leaves exactly one entry, which says who, what, which and where."""

import csv
import io
import json
from typing import Any

from tests.world import World

URL = "https://93.184.216.34/hook"
OTHER = "https://93.184.216.35/other"


async def entries(world: World, who: str = "acme_auditor", **query: Any) -> list[dict[str, Any]]:
    answer = await world.as_(who).get("/audit", params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def test_every_change_leaves_exactly_one_entry_with_its_changes(world: World) -> None:
    admin = world.as_("acme_admin")
    made = await world.make_destination(URL, headers={"X-Key": "k-5f1e77"})
    base = f"/integrations/destinations/{made['id']}"
    token: dict[str, Any] = {}
    delivery: dict[str, Any] = {}

    async def make_token() -> Any:
        answer = await admin.post("/tokens", json={"name": "SIEM", "role": "auditor"})
        token.update(answer.json())
        return answer

    async def owe() -> None:
        await world.publish()
        delivery.update((await world.deliveries(state="pending"))[0])

    await owe()
    steps = [
        ("destination.updated",
         lambda: admin.patch(base, json={"name": "New", "endpoint_url": OTHER,
                                         "headers": {"X-Key": "k-other"}}),
         {"name": {"from": "Tenant SOC webhook", "to": "New"},
          "endpoint_url": {"from": URL, "to": OTHER}, "header_values": ["X-Key"]}),
        ("destination.secret_rotated",
         lambda: admin.post(f"{base}/rotate-secret", json={"overlap_seconds": 60}),
         {"overlap_seconds": 60, "secret": ...}),
        ("destination.tested", lambda: admin.post(f"{base}/test"), {"delivery_id": ...}),
        ("delivery.cancelled",
         lambda: admin.post(f"/integrations/deliveries/{delivery['id']}/cancel"), {}),
        ("delivery.retried",
         lambda: admin.post(f"/integrations/deliveries/{delivery['id']}/retry"), {}),
        ("destination.disabled", lambda: admin.post(f"{base}/disable"),
         {"reason": "disabled by Demo tenant admin"}),
        ("destination.enabled", lambda: admin.post(f"{base}/enable"), {}),
        ("token.created", make_token, {"role": "auditor"}),
        ("token.revoked", lambda: admin.delete(f"/tokens/{token['id']}"), {}),
        ("destination.deleted", lambda: admin.delete(base), {}),
    ]  # fmt: skip
    for action, step, changes in steps:
        before = await entries(world)
        answer = await step()
        assert answer.status_code < 300, (action, answer.text)
        after = await entries(world)

        assert before == after[1:], action
        newest = after[0]
        assert (action, before[0]["sequence"] + 1) == (newest["action"], newest["sequence"])
        assert ("token", "Demo tenant admin") == (newest["actor_kind"], newest["actor"])
        assert newest["address"] == "127.0.0.1"
        assert newest["user_agent"].startswith("python-httpx/")
        kind = action.partition(".")[0]
        assert (kind, True) == (newest["target_kind"], bool(newest["target"])), action
        assert set(changes) == set(newest["changes"]), action
        assert all(value in (..., newest["changes"][name]) for name, value in changes.items())


async def test_a_new_value_of_an_old_header_is_recorded_by_its_name(world: World) -> None:
    made = await world.make_destination(URL, headers={"X-Key": "k-5f1e77", "X-Same": "same"})
    path = f"/integrations/destinations/{made['id']}"

    changed = await world.as_("acme_admin").patch(
        path, json={"headers": {"X-Key": "k-other", "X-Same": "same"}}
    )

    (entry,) = await entries(world, action="destination.updated")
    assert {"header_values": ["X-Key"]} == entry["changes"]
    assert changed.json()["updated_at"] >= made["updated_at"]


async def test_a_new_destination_is_recorded_with_what_it_is_but_no_secret(world: World) -> None:
    made = await world.make_destination(URL, headers={"X-Key": "k-5f1e77"}, event_types=["a.*"])

    (entry,) = await entries(world, action="destination.created")

    assert made["id"] == entry["target_id"]
    told = {
        "name": "Tenant SOC webhook", "description": "", "endpoint_url": URL,
        "event_types": ["a.*"], "headers": ["X-Key"], "rate_limit_per_second": None,
        "ordered": False, "secret": made["secret_fingerprint"],
    }  # fmt: skip
    assert told.items() <= entry["changes"].items()


async def test_no_entry_holds_a_secret_a_token_or_a_header_value(world: World) -> None:
    admin = world.as_("acme_admin")
    made = await world.make_destination(URL, headers={"X-Key": "k-5f1e77"})
    base = f"/integrations/destinations/{made['id']}"
    await admin.patch(base, json={"headers": {"X-Key": "k-other", "X-New": "k-third"}})
    rotated = (await admin.post(f"{base}/rotate-secret")).json()
    token = (await admin.post("/tokens", json={"name": "x", "role": "operator"})).json()

    told = json.dumps(await entries(world)) + (await admin.get("/audit/export")).text

    for hidden in (
        made["signing_secret"], rotated["signing_secret"], token["token"],
        "k-5f1e77", "k-other", "k-third",
    ):  # fmt: skip
        assert hidden.removeprefix("whsec_") not in told


async def test_a_refused_change_leaves_no_entry(world: World) -> None:
    made = await world.make_destination(URL)
    before = await entries(world)
    base = f"/integrations/destinations/{made['id']}"

    await world.as_("acme_operator").delete(base)
    await world.as_("globex_admin").delete(base)
    await world.as_("acme_admin").patch(base, json={"ordered": "x"})
    await world.as_("acme_admin").post("/tokens", json={})

    assert before == await entries(world)


async def test_filters_match_an_id_or_a_label_and_combine(world: World) -> None:
    first = await world.make_destination(URL, name="One")
    await world.make_destination(URL, name="Two")
    everything = await entries(world)
    actor_id = everything[0]["actor_id"]

    assert everything == await entries(world, after=everything[-1]["at"])
    assert [] == await entries(world, before=everything[-1]["at"])
    assert ["One"] == [e["target"] for e in await entries(world, target=first["id"])]
    assert ["Two"] == [e["target"] for e in await entries(world, target="Two")]
    assert await entries(world, actor=actor_id) == await entries(world, actor="Demo tenant admin")
    assert ["Two", "One"] == [
        e["target"] for e in await entries(world, actor=actor_id, action="destination.created")
    ]
    assert [] == await entries(world, actor="system", action="destination.created")


async def test_the_export_holds_every_entry_oldest_first_in_both_formats(world: World) -> None:
    await world.make_destination(URL)
    auditor = world.as_("acme_auditor")
    listed = list(reversed(await entries(world, limit=200)))

    as_csv = await auditor.get("/audit/export")
    as_ndjson = await auditor.get("/audit/export?format=ndjson")

    assert "text/csv; charset=utf-8" == as_csv.headers["content-type"]
    assert 'attachment; filename="audit-acme.csv"' == as_csv.headers["content-disposition"]
    assert "application/x-ndjson" == as_ndjson.headers["content-type"]
    assert listed == [json.loads(line) for line in as_ndjson.text.splitlines()[:-1]]
    rows = list(csv.DictReader(io.StringIO(as_csv.text)))[:-1]
    assert [e["id"] for e in listed] == [row["id"] for row in rows]
    assert list(listed[0]) == list(rows[0])
    assert listed[-1]["changes"] == json.loads(rows[-1]["changes"])


async def test_the_export_takes_the_filters_of_the_list(world: World) -> None:
    await world.make_destination(URL)

    answer = await world.as_("acme_auditor").get(
        "/audit/export?format=ndjson&action=destination.created&actor=Demo tenant admin"
    )

    *found, closing = [json.loads(line) for line in answer.text.splitlines()]
    assert ["destination.created"] == [entry["action"] for entry in found]
    assert closing["signed_head"]["filters"] == {
        "action": "destination.created", "actor": "Demo tenant admin",
    }  # fmt: skip


async def test_a_spreadsheet_finds_no_formula_in_the_export(world: World) -> None:
    odd = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://x","y")']
    for name in odd:
        await world.make_destination(URL, name=name)
    agent = {"User-Agent": "=1+1"}
    await world.as_("acme_admin").post(
        "/tokens", json={"name": "t", "role": "auditor"}, headers=agent
    )

    answer = await world.as_("acme_auditor").get("/audit/export")

    cells = [cell for row in csv.reader(io.StringIO(answer.text)) for cell in row]
    assert [] == [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]
    assert {f"'{name}" for name in odd} | {"'=1+1"} <= set(cells)


async def test_verify_finds_an_untouched_chain_intact(world: World) -> None:
    await world.make_destination(URL)
    newest = (await entries(world))[0]

    verdict = (await world.as_("acme_auditor").get("/audit/verify")).json()

    assert verdict == {
        "intact": True, "entries": newest["sequence"], "head": newest["hash"],
        "broken_at": None, "fault": None, "first": 1, "sealed": None, "sealed_at": None,
    }  # fmt: skip


async def test_a_very_long_user_agent_is_cut_not_refused(world: World) -> None:
    agent = {"User-Agent": "x" * 5000}

    answer = await world.as_("acme_admin").post(
        "/tokens", json={"name": "t", "role": "auditor"}, headers=agent
    )

    assert 201 == answer.status_code
    assert "x" * 300 == (await entries(world))[0]["user_agent"]

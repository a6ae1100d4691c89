"""The corpus of hostile and honest URLs: no entry may be judged otherwise than it says."""

import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from app.sending.egress import EgressAllow, EgressPolicy
from app.sending.exchange import client_tls
from app.sending.networks import is_public
from app.sending.outcome import OutcomeKind
from app.sending.transport import Sender
from app.sending.url_safety import PRIVATE_MESSAGE, UnsafeUrl, check_url, vet_url
from tests.behaviours import redirect
from tests.receiver import Authority, Receiver
from tests.sending.resolvers import Answers, InTurn

ENTRIES: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("ssrf_corpus.json").read_text("utf-8")
)
POLICY = EgressPolicy()


def staged(stage: str, verdict: str, *types: type) -> Any:
    chosen = [
        entry
        for entry in ENTRIES
        if entry.get("stage", "create") == stage
        and wanted(entry) == verdict
        and isinstance(entry["url"], types or object)
    ]
    assert chosen
    return pytest.mark.parametrize("entry", chosen, ids=lambda entry: entry["id"])


def wanted(entry: dict[str, Any]) -> str:
    return entry["recommended"] if entry["expect"] == "policy" else entry["expect"]


@staged("create", "accept")
async def test_an_honest_url_is_accepted(entry: dict[str, Any]) -> None:
    safe = await vet_url(entry["url"], POLICY, Answers(entry.get("dns", {})))

    assert check_url(safe.url, POLICY) == safe


@staged("create", "reject")
async def test_a_hostile_url_is_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(UnsafeUrl) as caught:
        await vet_url(entry["url"], POLICY, Answers(entry.get("dns", {})))

    if entry.get("message") == "private":
        assert caught.value.message == PRIVATE_MESSAGE


@staged("create", "reject", str)
async def test_a_hostile_url_that_is_already_stored_is_never_dialled(
    entry: dict[str, Any], dialled: list[str]
) -> None:
    sender = Sender(EgressPolicy(require_https=False), resolver=Answers(entry.get("dns", {})))
    outcome = await sender.send(entry["url"], [], b"{}")
    await sender.aclose()

    assert outcome.kind is not OutcomeKind.DELIVERED
    assert all(is_public(ip_address(address)) for address in dialled)
    if entry.get("message") == "private":
        assert outcome.kind is OutcomeKind.DESTINATION_NOT_ALLOWED
        assert dialled == []


@staged("delivery", "reject")
async def test_a_url_that_turned_private_is_refused_at_delivery(
    entry: dict[str, Any], dialled: list[str]
) -> None:
    answers = next(iter(entry.get("dns_sequence", {}).values()), None)
    if answers is None:
        resolver: Any = Answers(entry.get("dns", {}))
    else:  # the first look-up belonged to the form
        resolver = InTurn(*answers[1:])
    sender = Sender(EgressPolicy(require_https=False), resolver=resolver)
    outcome = await sender.send(entry["url"], [], b"{}")
    await sender.aclose()

    assert outcome.kind is not OutcomeKind.DELIVERED
    assert all(is_public(ip_address(address)) for address in dialled)
    if not dialled:
        assert outcome.kind is OutcomeKind.DESTINATION_NOT_ALLOWED


@staged("redirect", "reject")
async def test_a_redirect_is_recorded_and_its_target_never_fetched(
    entry: dict[str, Any], authority: Authority, dialled: list[str]
) -> None:
    name = "hooks.public.example"
    answer = redirect(entry["location"])
    async with Receiver(answer, tls=authority.server(name), name=name) as receiver:
        sender = Sender(
            EgressPolicy(EgressAllow.parse(receiver.place)),
            resolver=Answers(entry["dns"] | {name: ["127.0.0.1"]}),
            ssl_context=authority.trust(client_tls()),
        )
        outcome = await sender.send(receiver.url, [], b"{}")
        await sender.aclose()

    assert (outcome.kind, outcome.response_status) == (OutcomeKind.HTTP_ERROR, 302)
    assert outcome.response_headers["location"] == entry["location"]
    assert len(receiver.requests) == 1
    assert dialled == ["127.0.0.1"]

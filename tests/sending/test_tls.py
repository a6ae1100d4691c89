"""TLS is for the host name: its certificate is demanded, always, and no setting relaxes it."""

import ssl
from typing import Any

import pytest
import uvloop

from app.sending.egress import EgressAllow, EgressPolicy
from app.sending.exchange import client_tls
from app.sending.outcome import Outcome, OutcomeKind
from app.sending.transport import Sender
from tests.behaviours import tunnel
from tests.receiver import Authority, Receiver
from tests.sending.conftest import Opener
from tests.sending.resolvers import Answers

NAME = "hooks.customer.example"
NAMES = Answers({NAME: ["127.0.0.1"], "other.customer.example": ["127.0.0.1"]})


async def test_sni_host_and_certificate_are_the_host_name(
    open_sender: Opener, authority: Authority
) -> None:
    seen: list[str | None] = []
    tls = authority.server(NAME)
    tls.sni_callback = lambda _, name, __: seen.append(name)
    async with Receiver(tls=tls, name=NAME) as receiver:
        trusting = authority.trust(client_tls())
        sender = open_sender(receiver, resolver=NAMES, ssl_context=trusting)
        outcome = await sender.send(receiver.url, [], b"{}")

    assert outcome.kind is OutcomeKind.DELIVERED
    assert seen == [NAME]
    assert receiver.requests[0].header("host") == receiver.place
    assert outcome.timing is not None
    assert outcome.timing.tls_ms is not None
    assert outcome.timing.connect_ms is not None


async def test_a_final_dot_does_not_break_the_certificate(
    open_sender: Opener, authority: Authority
) -> None:
    async with Receiver(tls=authority.server(NAME), name=NAME) as receiver:
        trusting = authority.trust(client_tls())
        sender = open_sender(receiver, resolver=NAMES, ssl_context=trusting)
        outcome = await sender.send(receiver.url.replace(NAME, f"{NAME}."), [], b"{}")

    assert outcome.kind is OutcomeKind.DELIVERED


async def test_a_certificate_for_another_name_is_refused(
    open_sender: Opener, authority: Authority
) -> None:
    async with Receiver(tls=authority.server("wrong.example"), name=NAME) as receiver:
        trusting = authority.trust(client_tls())
        sender = open_sender(receiver, resolver=NAMES, ssl_context=trusting)
        outcome = await sender.send(receiver.url, [], b"secret")

    assert outcome.kind is OutcomeKind.TLS_ERROR
    assert receiver.requests == []


async def test_a_second_name_on_the_same_address_does_not_share_a_connection(
    open_sender: Opener, authority: Authority
) -> None:
    async with Receiver(tls=authority.server(NAME), name=NAME) as receiver:
        second = Receiver(tls=ssl.create_default_context(), name="other.customer.example")
        second.port = receiver.port
        trusting = authority.trust(client_tls())
        sender = open_sender(receiver, second, resolver=NAMES, ssl_context=trusting)
        first = await sender.send(receiver.url, [], b"{}")
        other = await sender.send(second.url, [], b"{}")

    assert (first.kind, other.kind) == (OutcomeKind.DELIVERED, OutcomeKind.TLS_ERROR)
    assert len(receiver.requests) == 1


async def test_an_unknown_authority_is_refused(open_sender: Opener, authority: Authority) -> None:
    async with Receiver(tls=authority.server(NAME), name=NAME) as receiver:
        outcome = await open_sender(receiver, resolver=NAMES).send(receiver.url, [], b"{}")

    assert outcome.kind is OutcomeKind.TLS_ERROR


async def test_the_environment_cannot_add_an_authority(
    open_sender: Opener, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    async with Receiver(tls=authority.server(NAME), name=NAME) as receiver:
        outcome = await open_sender(receiver, resolver=NAMES).send(receiver.url, [], b"{}")

    assert outcome.kind is OutcomeKind.TLS_ERROR


async def test_plain_text_on_a_tls_port_is_a_tls_error(open_sender: Opener) -> None:
    async with Receiver(name=NAME, greeting=b"220 mail.example ESMTP\r\n") as receiver:
        sender = open_sender(receiver, resolver=NAMES)
        outcome = await sender.send(receiver.url.replace("http:", "https:"), [], b"{}")

    assert outcome.kind is OutcomeKind.TLS_ERROR


async def test_an_operators_proxy_does_not_end_the_tls(authority: Authority) -> None:
    async with (
        Receiver(tls=authority.server(NAME), name=NAME) as good,
        Receiver(tls=authority.server("wrong.example"), name=NAME) as bad,
        Receiver(tunnel(good.port)) as proxy,
    ):
        sender = Sender(
            EgressPolicy(),
            resolver=Answers({"proxy.internal": ["127.0.0.1"]}),
            ssl_context=authority.trust(client_tls()),
            proxy=f"http://proxy.internal:{proxy.port}",
        )
        delivered = await sender.send(f"https://{NAME}/hook", [], b"through")
        proxy.behaviour = tunnel(bad.port)
        refused = await sender.send(f"https://{NAME}:8443/hook", [], b"through")
        await sender.aclose()

    assert delivered.kind is OutcomeKind.DELIVERED
    assert good.bodies == [b"through"]
    assert refused.kind is OutcomeKind.TLS_ERROR
    assert bad.requests == []


def test_the_default_context_verifies_names() -> None:
    context = client_tls()

    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_uvloop_behaves_alike(authority: Authority) -> None:
    async def two_attempts() -> list[Outcome]:
        async with (
            Receiver(tls=authority.server(NAME), name=NAME) as good,
            Receiver(tls=authority.server("wrong.example"), name=NAME) as bad,
        ):
            sender = Sender(
                EgressPolicy(EgressAllow.parse(f"{good.place},{bad.place}")),
                resolver=NAMES,
                ssl_context=authority.trust(client_tls()),
            )
            urls = (good.url, bad.url, f"https://127.0.0.1:{good.port}/")
            outcomes = [await sender.send(url, [], b"{}") for url in urls]
            await sender.aclose()
            return outcomes

    delivered, refused, blocked = uvloop.run(two_attempts())

    assert delivered.kind is OutcomeKind.DELIVERED
    assert delivered.timing is not None
    assert delivered.timing.tls_ms is not None
    assert refused.kind is OutcomeKind.TLS_ERROR
    assert blocked.kind is OutcomeKind.DESTINATION_NOT_ALLOWED

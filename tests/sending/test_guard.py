"""No packet goes where the policy does not want it, whatever DNS says and when."""

import asyncio
import socket
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from app.sending import guard
from app.sending.egress import EgressAllow, EgressPolicy
from app.sending.exchange import client_tls
from app.sending.guard import DestinationBlocked, Guard, is_own
from app.sending.outcome import Outcome, OutcomeKind
from app.sending.transport import Sender
from tests.behaviours import slow
from tests.receiver import Receiver, closed_port
from tests.sending.conftest import Opener
from tests.sending.resolvers import Answers, InTurn, NameServer, UdpResolver

BLOCKED = OutcomeKind.DESTINATION_NOT_ALLOWED


async def attempt(url: str, resolver: Any = None, allow: str = "") -> Outcome:
    policy = EgressPolicy(EgressAllow.parse(allow), require_https=False)
    sender = Sender(policy, timeout_s=2, resolver=resolver or Answers({}))
    try:
        return await sender.send(url, [], b"{}")
    finally:
        await sender.aclose()


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "0", "127.1", "0x7f.1", "2130706433", "[::ffff:7f00:1]", "[::1]", "localhost"],
)
async def test_a_loopback_literal_is_refused_before_any_packet(
    host: str, dialled: list[str]
) -> None:
    async with Receiver() as receiver:
        outcome = await attempt(f"http://{host}:{receiver.port}/hook")

    assert outcome.kind is BLOCKED
    assert receiver.connections == 0
    assert dialled == []


async def test_open_and_closed_ports_of_a_private_host_look_the_same(dialled: list[str]) -> None:
    async with Receiver() as receiver:
        opened = await attempt(receiver.url)
        closed = await attempt(f"http://127.0.0.1:{closed_port()}/hook")

    assert dialled == []
    for outcome in (opened, closed):
        assert (outcome.kind, outcome.resolved_address) == (BLOCKED, None)
        assert outcome.response_body == ""
        assert outcome.timing is not None
        assert outcome.timing.connect_ms is None


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1"],
        ["127.0.0.2", "127.0.0.1"],
        ["127.0.0.1", "127.0.0.2"],
        ["127.0.0.2"] * 20 + ["10.0.0.1"],
        ["::ffff:127.0.0.1"],
        ["2002:7f00:1::"],
        ["fe80::1%2"],
    ],
)
async def test_one_bad_answer_refuses_the_whole_name(answer: list[str], dialled: list[str]) -> None:
    async with Receiver(host="127.0.0.2") as receiver:
        allow = f"127.0.0.2:{receiver.port}"
        url = f"http://mixed.example:{receiver.port}/"
        outcome = await attempt(url, Answers({"mixed.example": answer}), allow)

    assert outcome.kind is BLOCKED
    assert dialled == []


async def test_a_verdict_holds_for_the_address_that_is_dialled(dialled: list[str]) -> None:
    resolver = InTurn(["127.0.0.2"], ["127.0.0.1"])
    async with Receiver(host="127.0.0.2") as receiver:
        url = f"http://rebind.example:{receiver.port}/"
        outcome = await attempt(url, resolver, f"127.0.0.2:{receiver.port}")

    assert outcome.kind is OutcomeKind.DELIVERED
    assert len(resolver.asked) == 1
    assert dialled == ["127.0.0.2"]


async def test_a_name_that_turns_private_is_refused_though_a_connection_is_open(
    open_sender: Opener,
) -> None:
    resolver = InTurn(["127.0.0.2"], ["10.0.0.1"])
    async with Receiver(host="127.0.0.2") as receiver:
        sender = open_sender(receiver, resolver=resolver, verdict_s=0)
        url = f"http://rebind.example:{receiver.port}/"
        kinds = [(await sender.send(url, [], b"{}")).kind for _ in range(2)]

    assert kinds == [OutcomeKind.DELIVERED, BLOCKED]
    assert len(receiver.requests) == 1


async def test_a_verdict_spares_look_ups_for_seconds_only(open_sender: Opener) -> None:
    resolver = Answers({"hooks.example": ["127.0.0.1"]})
    async with Receiver(name="hooks.example") as receiver:
        sender = open_sender(receiver, resolver=resolver, verdict_s=0.2)
        for _ in range(10):
            await sender.send(receiver.url, [], b"{}")
        early = len(resolver.asked)
        await asyncio.sleep(0.25)
        await sender.send(receiver.url, [], b"{}")

    assert (early, len(resolver.asked)) == (1, 2)


async def test_a_real_name_server_that_flips_is_caught(
    open_sender: Opener, dialled: list[str]
) -> None:
    async with (
        NameServer("127.0.0.2", "127.0.0.1") as names,
        Receiver(host="127.0.0.2") as outside,
    ):
        sender = open_sender(outside, resolver=UdpResolver(names), verdict_s=0)
        url = f"http://flip.example:{outside.port}/"
        kinds = [(await sender.send(url, [], b"{}")).kind for _ in range(3)]

    assert kinds == [OutcomeKind.DELIVERED, BLOCKED, BLOCKED]
    assert names.questions == 3
    assert dialled == ["127.0.0.2"]


async def test_the_second_address_is_tried_when_the_first_is_dead(dialled: list[str]) -> None:
    async with Receiver(host="127.0.0.2") as receiver:
        url = f"http://two.example:{receiver.port}/"
        allow = f"two.example:{receiver.port}"
        outcome = await attempt(url, Answers({"two.example": ["127.0.0.3", "127.0.0.2"]}), allow)

    assert outcome.kind is OutcomeKind.DELIVERED
    assert outcome.resolved_address == "127.0.0.2"
    assert dialled == ["127.0.0.3", "127.0.0.2"]


async def test_a_socket_is_refused_to_a_connector_that_vetted_nothing() -> None:
    judge = Guard(EgressPolicy(), Answers({}))
    connector = judge.connector(client_tls(), proxied=False)
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 443))

    with pytest.raises(DestinationBlocked):
        judge._open_permitted(info)
    await connector.close()


async def test_the_gate_judges_the_very_address_even_if_the_trip_was_vetted_for_it() -> None:
    judge = Guard(EgressPolicy(), Answers({}))
    trip = guard.Trip()
    trip.addresses = (ip_address("127.0.0.1"),)
    token = guard.TRIP.set(trip)

    with pytest.raises(DestinationBlocked):
        judge._open_permitted((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443)))
    guard.TRIP.reset(token)


async def test_a_public_address_that_was_not_vetted_is_not_dialled_either() -> None:
    judge = Guard(EgressPolicy(), Answers({}))
    trip = guard.Trip()
    trip.addresses = (ip_address("8.8.8.8"),)
    token = guard.TRIP.set(trip)

    judge._open_permitted((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 443))).close()
    with pytest.raises(DestinationBlocked):
        judge._open_permitted((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("9.9.9.9", 443)))
    guard.TRIP.reset(token)


async def test_the_operators_extra_networks_are_closed(dialled: list[str]) -> None:
    policy = EgressPolicy(extra_blocked=(ip_network("93.184.215.0/24"),))
    sender = Sender(policy, resolver=Answers({"ours.example": ["93.184.215.14"]}))
    outcome = await sender.send("https://ours.example/", [], b"{}")
    await sender.aclose()

    assert outcome.kind is BLOCKED
    assert dialled == []


def test_this_hosts_addresses_are_recognised_without_a_packet() -> None:
    assert is_own(ip_address("127.0.0.1"))
    assert not is_own(ip_address("203.0.113.77"))


async def test_this_hosts_own_public_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, dialled: list[str]
) -> None:
    monkeypatch.setattr(guard, "is_own", lambda ip: str(ip) == "93.184.215.14")
    outcome = await attempt("http://self.example/", Answers({"self.example": ["93.184.215.14"]}))

    assert outcome.kind is BLOCKED
    assert dialled == []


async def test_a_public_name_is_dialled(dialled: list[str]) -> None:
    outcome = await attempt("http://out.example/", Answers({"out.example": ["93.184.215.14"]}))

    assert outcome.kind is OutcomeKind.CONNECT_ERROR  # the test rig lets nothing out
    assert dialled == ["93.184.215.14"]


async def test_plain_http_is_refused_where_https_is_demanded(dialled: list[str]) -> None:
    sender = Sender(EgressPolicy(), resolver=Answers({"out.example": ["93.184.215.14"]}))
    outcome = await sender.send("http://out.example/", [], b"{}")
    await sender.aclose()

    assert outcome.kind is BLOCKED
    assert dialled == []


async def test_a_refusal_holds_up_nobody_else(open_sender: Opener) -> None:
    async with Receiver(slow(0.05)) as receiver:
        sender = open_sender(receiver, resolver=Answers({}))
        urls = [receiver.url, "http://10.0.0.1/", "http://nowhere.example/"] * 20
        outcomes = await asyncio.gather(*(sender.send(url, [], b"{}") for url in urls))

    kinds = [outcome.kind for outcome in outcomes]
    assert kinds == [OutcomeKind.DELIVERED, BLOCKED, OutcomeKind.DNS_ERROR] * 20


def test_a_refusal_says_nothing_about_the_destination() -> None:
    assert str(DestinationBlocked()) == "the destination is not allowed"


async def test_an_address_that_becomes_ours_is_refused_within_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours: set[str] = set()
    asked: list[str] = []

    def is_ours(ip: Any) -> bool:
        asked.append(str(ip))
        return str(ip) in ours

    monkeypatch.setattr(guard, "is_own", is_ours)
    monkeypatch.setattr(guard, "FOREIGN_S", 0.05)
    judge = Guard(EgressPolicy(), Answers({"self.example": ["93.184.215.14"]}), verdict_s=0)
    place = ("self.example", 443)
    for _ in range(3):
        await judge.vet(guard.Trip(), place, None)
    ours.add("93.184.215.14")
    await asyncio.sleep(0.06)

    for _ in range(2):
        with pytest.raises(DestinationBlocked):
            await judge.vet(guard.Trip(), place, None)
    ours.clear()
    await judge.vet(guard.Trip(), place, None)
    assert 4 == len(asked), "a yes is remembered, a no is asked for again each time"


async def test_what_a_guard_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MAX_VERDICTS", 8)
    judge = Guard(EgressPolicy(), Answers({}))
    for number in range(100):
        literal = ip_address("8.8.0.0") + number
        await judge.vet(guard.Trip(), (str(literal), 443), literal)

    assert max(len(judge._verdicts), len(judge._foreign)) <= 8

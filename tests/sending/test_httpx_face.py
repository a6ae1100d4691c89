"""`GuardedTransport` beneath an ordinary httpx client: guarded alike, failing in httpx's words."""

import httpx
import pytest

from app.sending.egress import EgressAllow, EgressPolicy
from app.sending.transport import DestinationBlocked, GuardedTransport
from tests.behaviours import (
    Behaviour,
    Conversation,
    answer,
    drip,
    garbage,
    hang_up,
    huge_headers,
    never,
    redirect,
    reset,
    truncated_chunk,
)
from tests.receiver import Receiver, closed_port
from tests.sending.resolvers import Answers


def transport(allow: str) -> GuardedTransport:
    policy = EgressPolicy(EgressAllow.parse(allow), require_https=False)
    return GuardedTransport(policy, resolver=Answers({}))


def open_client(receiver: Receiver) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=transport(receiver.place), timeout=0.5)


async def test_an_httpx_client_works_through_the_guard() -> None:
    async with Receiver(answer(200, b'{"keys": []}')) as receiver, open_client(receiver) as it:
        got = await it.get(receiver.url + "?a=b")
        posted = await it.post(receiver.url, json={"a": 1})

    assert (got.status_code, got.json()) == (200, {"keys": []})
    assert posted.status_code == 200
    assert [request.method for request in receiver.requests] == ["GET", "POST"]
    assert receiver.requests[0].header("content-length") is None
    assert receiver.requests[1].json == {"a": 1}
    assert receiver.connections == 1


async def test_a_head_request_waits_for_no_body() -> None:
    async def length_only(talk: Conversation) -> None:
        await talk.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")

    async with Receiver(length_only) as receiver, open_client(receiver) as client:
        response = await client.head(receiver.url)

    assert response.headers["content-length"] == "5"


async def test_a_redirect_is_the_callers_to_follow_and_is_guarded_too() -> None:
    async with (
        Receiver() as inside,
        Receiver(redirect(inside.url)) as receiver,
        open_client(receiver) as client,
    ):
        not_followed = await client.get(receiver.url)
        with pytest.raises(DestinationBlocked):
            await client.get(receiver.url, follow_redirects=True)

    assert not_followed.status_code == 302
    assert inside.connections == 0


async def test_a_private_address_is_refused() -> None:
    async with Receiver() as receiver, httpx.AsyncClient(transport=transport("")) as it:
        with pytest.raises(DestinationBlocked):
            await it.get(receiver.url)

    assert receiver.connections == 0


@pytest.mark.parametrize(
    ("behaviour", "exception"),
    [
        (hang_up, httpx.RemoteProtocolError),
        (garbage, httpx.RemoteProtocolError),
        (truncated_chunk, httpx.RemoteProtocolError),
        (huge_headers(), httpx.RemoteProtocolError),
        (reset, httpx.ReadError),
        (never, httpx.ReadTimeout),
        (drip(30), httpx.ReadTimeout),
    ],
)
async def test_a_failure_is_the_most_specific_httpx_exception(
    behaviour: Behaviour, exception: type[Exception]
) -> None:
    async with Receiver(behaviour) as receiver, open_client(receiver) as client:
        with pytest.raises(httpx.TransportError) as caught:
            await client.post(receiver.url, content=b"{}")

    assert type(caught.value) is exception


async def test_a_closed_port_and_a_dead_name_are_connect_errors() -> None:
    receiver = Receiver()
    receiver.port = closed_port()
    async with open_client(receiver) as client:
        for url in (receiver.url, "http://nowhere.example/"):
            with pytest.raises(httpx.ConnectError):
                await client.get(url)

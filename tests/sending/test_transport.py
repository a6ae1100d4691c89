"""Whatever a receiver does, an attempt ends in time, in bounded memory, with the right word."""

import asyncio
import logging
import time
import tracemalloc
from typing import Any

import pytest

from app.sending.egress import EgressPolicy
from app.sending.outcome import STORED_BODY_BYTES, OutcomeKind
from app.sending.transport import MAX_BODY_BYTES, TRANSLATION, Sender
from tests.behaviours import (
    Behaviour,
    Conversation,
    answer,
    bad_chunk,
    drip,
    early_hints,
    endless_103,
    garbage,
    gzip_bomb,
    hang_up,
    http_1_0,
    huge_headers,
    in_turn,
    large_body,
    never,
    no_reason,
    redirect,
    reset,
    reset_mid_body,
    set_cookie,
    slow,
    truncated_chunk,
    unasked_answer,
)
from tests.receiver import Receiver, closed_port
from tests.sending.conftest import Opener
from tests.sending.resolvers import Answers

HEADERS = [("Content-Type", "application/json"), ("User-Agent", "test"), ("webhook-id", "msg_1")]


async def test_a_delivery_arrives_byte_for_byte(open_sender: Opener) -> None:
    body = b'{"name":"\xc3\xbc", "n": 1.0}'
    async with Receiver(answer(201, b"thanks")) as receiver:
        url = receiver.url + "?a=b%20c"
        outcome = await open_sender(receiver).send(url, HEADERS, body)

    request = receiver.requests[0]
    assert (request.method, request.path, request.body) == ("POST", "/hook?a=b%20c", body)
    assert request.headers == [
        ("Host", receiver.place),
        *HEADERS,
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
        ("Content-Length", str(len(body))),
    ]
    assert outcome.kind is OutcomeKind.DELIVERED
    assert (outcome.response_status, outcome.response_body) == (201, "thanks")
    assert outcome.resolved_address == "127.0.0.1"


async def test_an_empty_body_still_has_its_length(open_sender: Opener) -> None:
    async with Receiver() as receiver:
        await open_sender(receiver).send(receiver.url, [], b"")

    assert receiver.requests[0].header("content-length") == "0"


async def test_a_large_payload_arrives_whole(open_sender: Opener) -> None:
    body = bytes(range(256)) * 4096
    async with Receiver() as receiver:
        outcome = await open_sender(receiver).send(receiver.url, HEADERS, body)

    assert outcome.kind is OutcomeKind.DELIVERED
    assert receiver.bodies == [body]


@pytest.mark.parametrize(
    ("behaviour", "kind", "status"),
    [
        (answer(204, b""), OutcomeKind.DELIVERED, 204),
        (answer(304, b""), OutcomeKind.HTTP_ERROR, 304),
        (answer(500), OutcomeKind.HTTP_ERROR, 500),
        (answer(410), OutcomeKind.GONE, 410),
        (answer(429), OutcomeKind.RATE_LIMITED, 429),
        (answer(101, b""), OutcomeKind.HTTP_ERROR, 101),
        (http_1_0, OutcomeKind.DELIVERED, 200),
        (no_reason, OutcomeKind.DELIVERED, 200),
        (early_hints(2), OutcomeKind.DELIVERED, 200),
        (reset, OutcomeKind.PROTOCOL_ERROR, None),
        (hang_up, OutcomeKind.PROTOCOL_ERROR, None),
        (garbage, OutcomeKind.PROTOCOL_ERROR, None),
        (reset_mid_body, OutcomeKind.PROTOCOL_ERROR, 200),
        (truncated_chunk, OutcomeKind.PROTOCOL_ERROR, 200),
        (bad_chunk, OutcomeKind.PROTOCOL_ERROR, None),
        (endless_103(), OutcomeKind.PROTOCOL_ERROR, None),
        (huge_headers(100 * 1024, 100), OutcomeKind.RESPONSE_TOO_LARGE, None),
        (huge_headers(100 * 1024, 1), OutcomeKind.RESPONSE_TOO_LARGE, None),
        (huge_headers(10_000, 500), OutcomeKind.RESPONSE_TOO_LARGE, None),
        (large_body(announced=True), OutcomeKind.RESPONSE_TOO_LARGE, 200),
        (large_body(announced=False), OutcomeKind.RESPONSE_TOO_LARGE, 200),
    ],
)
async def test_every_behaviour_has_its_word(
    open_sender: Opener, behaviour: Behaviour, kind: OutcomeKind, status: int | None
) -> None:
    async with Receiver(behaviour) as receiver:
        started = time.monotonic()
        outcome = await open_sender(receiver).send(receiver.url, HEADERS, b"{}")

    assert (outcome.kind, outcome.response_status) == (kind, status)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("behaviour", [never, slow(60), drip(0.01), drip(60), endless_103(0.05)])
async def test_one_deadline_bounds_the_whole_attempt(
    open_sender: Opener, behaviour: Behaviour
) -> None:
    async with Receiver(behaviour) as receiver:
        outcome = await open_sender(receiver, timeout_s=0.3).send(receiver.url, HEADERS, b"{}")

    assert outcome.kind is OutcomeKind.TIMEOUT
    assert 300 <= outcome.duration_ms < 1300


async def test_a_slow_name_counts_against_the_deadline(open_sender: Opener) -> None:
    class Slow(Answers):
        async def resolve(self, host: str, port: int) -> Any:
            await asyncio.sleep(60)
            return await super().resolve(host, port)

    async with Receiver() as receiver:
        sender = open_sender(receiver, timeout_s=0.2, resolver=Slow({}))
        outcome = await sender.send("http://slow.example/", HEADERS, b"{}")

    assert outcome.kind is OutcomeKind.TIMEOUT
    assert outcome.duration_ms < 1200


async def test_a_receiver_that_does_not_read_gets_nothing_after_the_deadline(
    open_sender: Opener,
) -> None:
    async with Receiver(deaf_s=0.5) as receiver:
        sender = open_sender(receiver, timeout_s=0.2)
        outcome = await sender.send(receiver.url, HEADERS, b"x" * 50_000_000)
        await asyncio.sleep(0.8)

    assert outcome.kind is OutcomeKind.TIMEOUT
    assert receiver.connections == 1
    assert receiver.requests == []


async def test_an_announced_giant_is_not_waited_for(open_sender: Opener) -> None:
    async def announce(talk: Conversation) -> None:
        await talk.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\n", b"x" * 20_000)
        await asyncio.sleep(60)

    async with Receiver(announce) as receiver:
        outcome = await open_sender(receiver).send(receiver.url, HEADERS, b"{}")

    assert outcome.kind is OutcomeKind.RESPONSE_TOO_LARGE
    assert outcome.duration_ms < 2000


async def test_a_compressed_body_is_never_unfolded(open_sender: Opener) -> None:
    async with Receiver(gzip_bomb()) as receiver:
        outcome = await open_sender(receiver).send(receiver.url, HEADERS, b"{}")

    assert outcome.kind is OutcomeKind.DELIVERED
    assert outcome.response_body.startswith("\x1f\ufffd")


async def test_a_closed_port_is_a_connect_error(open_sender: Opener) -> None:
    receiver = Receiver()
    receiver.port = closed_port()
    outcome = await open_sender(receiver).send(receiver.url, HEADERS, b"{}")

    assert outcome.kind is OutcomeKind.CONNECT_ERROR
    assert outcome.response_status is None


async def test_a_name_without_an_address_is_a_dns_error(open_sender: Opener) -> None:
    sender = open_sender(resolver=Answers({}))
    outcome = await sender.send("http://nowhere.example/", HEADERS, b"{}")

    assert outcome.kind is OutcomeKind.DNS_ERROR


async def test_bodies_up_to_the_hard_limit_are_cut_not_refused(open_sender: Opener) -> None:
    async with Receiver(answer(200, b"x" * MAX_BODY_BYTES)) as receiver:
        outcome = await open_sender(receiver).send(receiver.url, HEADERS, b"{}")

    assert outcome.kind is OutcomeKind.DELIVERED
    assert outcome.response_body == "x" * STORED_BODY_BYTES


async def test_dirty_bytes_become_clean_text(open_sender: Opener) -> None:
    async with Receiver(answer(500, b"<b>\x00\xff\xfe</b>")) as receiver:
        outcome = await open_sender(receiver).send(receiver.url, HEADERS, b"{}")

    assert outcome.response_body == "<b>\ufffd\ufffd\ufffd</b>"


@pytest.mark.parametrize("behaviour", [gzip_bomb(), large_body(32 * 1024 * 1024, announced=False)])
async def test_memory_stays_bounded_whatever_the_body_unfolds_to(
    open_sender: Opener, behaviour: Behaviour
) -> None:
    async with Receiver(behaviour) as receiver:
        tracemalloc.start()
        outcome = await open_sender(receiver).send(receiver.url, HEADERS, b"{}")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert len(outcome.response_body.encode()) <= STORED_BODY_BYTES
    assert peak < 4 * 1024 * 1024


async def test_retry_after_and_a_few_headers_are_kept(open_sender: Opener) -> None:
    headers = [("Retry-After", "120"), ("X-Request-Id", "r1"), ("X-Internal", "secret")]
    async with Receiver(answer(503, b"", headers)) as receiver:
        outcome = await open_sender(receiver).send(receiver.url, HEADERS, b"{}")

    assert outcome.retry_after_s == 120
    assert outcome.response_headers == {"retry-after": "120", "x-request-id": "r1"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_recorded_not_followed(open_sender: Opener, status: int) -> None:
    async with Receiver() as elsewhere, Receiver(redirect(elsewhere.url, status)) as receiver:
        outcome = await open_sender(receiver, elsewhere).send(receiver.url, HEADERS, b"{}")

    assert (outcome.kind, outcome.response_status) == (OutcomeKind.HTTP_ERROR, status)
    assert elsewhere.connections == 0


async def test_a_cookie_is_never_sent_back(open_sender: Opener) -> None:
    async with Receiver(set_cookie()) as receiver:
        sender = open_sender(receiver)
        for _ in range(2):
            await sender.send(receiver.url, HEADERS, b"{}")

    assert [request.header("cookie") for request in receiver.requests] == [None, None]


async def test_a_healthy_connection_is_used_again(open_sender: Opener) -> None:
    async with Receiver() as receiver:
        sender = open_sender(receiver)
        outcomes = [await sender.send(receiver.url, HEADERS, b"{}") for _ in range(5)]

    assert receiver.connections == 1
    assert outcomes[0].timing is not None
    assert outcomes[0].timing.connect_ms is not None
    assert outcomes[4].timing is not None
    assert outcomes[4].timing.connect_ms is None
    assert {outcome.resolved_address for outcome in outcomes} == {"127.0.0.1"}


async def test_a_connection_with_an_unread_body_is_not_used_again(open_sender: Opener) -> None:
    async with Receiver(in_turn(large_body(), answer())) as receiver:
        sender = open_sender(receiver)
        kinds = [(await sender.send(receiver.url, HEADERS, b"{}")).kind for _ in range(2)]

    assert kinds == [OutcomeKind.RESPONSE_TOO_LARGE, OutcomeKind.DELIVERED]
    assert receiver.connections == 2


async def test_an_unasked_answer_does_not_answer_the_next_request(open_sender: Opener) -> None:
    async with Receiver(in_turn(unasked_answer, answer(200, b"second"))) as receiver:
        sender = open_sender(receiver)
        first = await sender.send(receiver.url, HEADERS, b"1")
        await asyncio.sleep(0.2)
        second = await sender.send(receiver.url, HEADERS, b"2")

    assert (first.response_body, second.response_body) == ("first", "second")
    assert second.response_status == 200


async def test_an_idle_connection_that_died_is_replaced_unnoticed(open_sender: Opener) -> None:
    async with Receiver(in_turn(answer(), hang_up, answer())) as receiver:
        sender = open_sender(receiver)
        kinds = [(await sender.send(receiver.url, HEADERS, b"{}")).kind for _ in range(2)]

    assert kinds == [OutcomeKind.DELIVERED] * 2
    assert receiver.connections == 2


async def test_a_fresh_connection_that_dies_is_not_tried_twice(open_sender: Opener) -> None:
    async with Receiver(hang_up) as receiver:
        await open_sender(receiver).send(receiver.url, HEADERS, b"{}")

    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    "header", [("X-A", "b\r\nX-C: d"), ("X-A", "b\nc"), ("X-A\r", "b"), ("X-A", "\0"), ("X-A", "é")]
)
async def test_a_header_that_would_break_the_framing_is_never_sent(
    open_sender: Opener, header: tuple[str, str]
) -> None:
    async with Receiver() as receiver:
        with pytest.raises(ValueError, match="a header holds") as caught:
            await open_sender(receiver).send(receiver.url, [*HEADERS, header], b"{}")

    assert receiver.connections == 0
    assert "X-C" not in str(caught.value)


async def test_cancellation_passes_and_leaves_no_connection(open_sender: Opener) -> None:
    async with Receiver(never) as receiver:
        task = asyncio.create_task(open_sender(receiver).send(receiver.url, HEADERS, b"{}"))
        await receiver.wait_for(1)
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task


async def test_the_environments_proxies_and_netrc_are_ignored(
    open_sender: Opener, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b")
    monkeypatch.setenv("NETRC", str(netrc))
    async with Receiver() as proxy, Receiver() as receiver:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        outcome = await open_sender(receiver, proxy).send(receiver.url, HEADERS, b"{}")

    assert outcome.kind is OutcomeKind.DELIVERED
    assert proxy.connections == 0
    assert receiver.requests[0].header("authorization") is None


async def test_an_operators_proxy_carries_every_delivery(dialled: list[str]) -> None:
    async with Receiver(answer(200, b"via proxy")) as proxy:
        sender = Sender(
            EgressPolicy(require_https=False),
            resolver=Answers({}),
            proxy=f"http://user:pass@127.0.0.1:{proxy.port}",
        )
        plain = await sender.send("http://hooks.example/in?x=1", HEADERS, b"{}")
        proxy.behaviour = answer(502)
        tunnelled = await sender.send("https://hooks.example/in", HEADERS, b"{}")
        refused = await sender.send("http://127.0.0.1:1/in", HEADERS, b"{}")
        await sender.aclose()

    assert plain.response_body == "via proxy"
    assert proxy.requests[0].path == "http://hooks.example/in?x=1"
    assert proxy.requests[0].header("proxy-authorization") == "Basic dXNlcjpwYXNz"
    assert (proxy.requests[1].method, proxy.requests[1].path) == ("CONNECT", "hooks.example:443")
    assert tunnelled.kind is OutcomeKind.CONNECT_ERROR
    assert refused.kind is OutcomeKind.DESTINATION_NOT_ALLOWED
    assert set(dialled) == {"127.0.0.1"}


async def test_no_log_shows_the_query_or_a_header(
    open_sender: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Receiver(truncated_chunk) as receiver:
        secret = [("Authorization", "Bearer canary")]
        await open_sender(receiver).send(receiver.url + "?token=canary", secret, b"canary")

    assert "canary" not in caplog.text


async def test_many_attempts_run_side_by_side(open_sender: Opener) -> None:
    async with Receiver(slow(0.2)) as receiver:
        sender = open_sender(receiver)
        started = time.monotonic()
        sending = [sender.send(receiver.url, HEADERS, b"%d" % n) for n in range(100)]
        outcomes = await asyncio.gather(*sending)

    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.DELIVERED}
    assert sorted(receiver.bodies) == sorted(b"%d" % n for n in range(100))
    assert time.monotonic() - started < 3


def test_no_row_of_the_translation_hides_a_more_specific_one() -> None:
    classes = [row[0] for row in TRANSLATION]

    for at, later in enumerate(classes):
        assert not any(issubclass(later, earlier) for earlier in classes[:at])

"""The developer's receiver, as a real process over HTTP."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.sending.signing import Secret, delivery_headers, signature
from app.tools.receiver.inbox import MAX_BODY_BYTES, MAX_KEPT, MAX_KEPT_BYTES, Behaviour, Inbox
from tests.tools.programs import client, eventually, running

SECRET = Secret.parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
BODY = b'{"id":"evt_1","type":"alert.created","data":{"mark":"<script>alert(1)</script>"}}'


def signed(body: bytes = BODY, *, message_id: str = "evt_1", attempt: int = 1) -> dict[str, str]:
    now = int(time.time())
    return dict(
        delivery_headers(
            message_id=message_id,
            event_type="alert.created",
            attempt=attempt,
            timestamp=now,
            signature=signature([SECRET], message_id, now, body),
            user_agent="OneProtect-Webhooks/0",
            extra={},
        )
    )


@pytest.fixture
def receiver(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    options = getattr(request, "param", ())
    with running(tmp_path, "receiver", "--port", "0", *options) as program:
        where = program.wait_for("listens on").split()[-1]
        with client(where) as http:
            yield http


def items(http: httpx.Client) -> list[dict[str, object]]:
    return list(http.get("/api/requests").json()["items"])


with_secret = pytest.mark.parametrize("receiver", [("--secret", SECRET.reveal())], indirect=True)


@with_secret
def test_a_signed_webhook_is_verified(receiver: httpx.Client) -> None:
    answer = receiver.post("/hook?a=1", content=BODY, headers=signed())
    assert (answer.status_code, answer.text) == (200, "verified")
    (one,) = items(receiver)
    assert one["verified"] is True
    assert one["body"] == BODY.decode()
    assert one["path"] == "/hook?a=1"
    assert one["headers"]["x-oneprotect-attempt"] == "1"  # type: ignore[index]


@with_secret
def test_an_altered_body_is_told_apart(receiver: httpx.Client) -> None:
    receiver.post("/", content=BODY + b" ", headers=signed())
    (one,) = items(receiver)
    assert one["verified"] is False
    assert one["reason"] == "no signature matches the secret and the body"


@with_secret
def test_a_request_without_a_signature_is_recorded_and_not_verified(receiver: httpx.Client) -> None:
    receiver.post("/", content=b"hello")
    (one,) = items(receiver)
    assert (one["verified"], one["answered"]) == (False, 200)


def test_a_secret_pasted_later_verifies_what_arrived_before(receiver: httpx.Client) -> None:
    receiver.post("/", content=BODY, headers=signed())
    (before,) = items(receiver)
    assert (before["verified"], before["reason"]) == (None, "not checked (no secret given)")
    pasted = receiver.post("/secrets", data={"secret": f" {SECRET.reveal()} "})
    assert (pasted.status_code, pasted.headers["location"]) == (303, "/")
    assert [one["verified"] for one in items(receiver)] == [True]
    page = receiver.get("/").text
    assert SECRET.fingerprint in page
    assert SECRET.reveal() not in page


def test_a_pasted_text_that_is_no_secret_is_refused_in_words(receiver: httpx.Client) -> None:
    answer = receiver.post("/secrets", data={"secret": "hunter2"})
    assert answer.status_code == 400
    assert "signing_secret must be whsec_" in answer.text
    assert "hunter2" not in answer.text


def test_another_sites_form_can_neither_add_a_secret_nor_clear(receiver: httpx.Client) -> None:
    receiver.post("/", content=b"kept")
    foreign = {"Sec-Fetch-Site": "cross-site"}
    form = {"secret": SECRET.reveal()}
    assert receiver.post("/secrets", data=form, headers=foreign).status_code == 403
    assert receiver.post("/clear", headers=foreign).status_code == 403
    assert [one["verified"] for one in items(receiver)] == [None]


@pytest.mark.parametrize("receiver", [("--fail-first", "2")], indirect=True)
def test_fail_first_counts_for_each_id_of_its_own(receiver: httpx.Client) -> None:
    def answers(message_id: str) -> list[int]:
        headers = signed(message_id=message_id)
        return [receiver.post("/", content=BODY, headers=headers).status_code for _ in range(3)]

    assert answers("evt_1") == [503, 503, 200]
    assert answers("evt_2") == [503, 503, 200]


@pytest.mark.parametrize("receiver", [("--fail-first", "1", "--status", "429")], indirect=True)
def test_status_with_fail_first_is_the_failure(receiver: httpx.Client) -> None:
    codes = [receiver.post("/", content=BODY, headers=signed()).status_code for _ in range(2)]
    assert codes == [429, 200]


@pytest.mark.parametrize("receiver", [("--status", "204", "--delay", "0.3")], indirect=True)
def test_status_alone_and_delay_hold_for_every_answer(receiver: httpx.Client) -> None:
    started = time.monotonic()
    assert [receiver.post("/").status_code for _ in range(2)] == [204, 204]
    assert time.monotonic() - started >= 0.6


def test_the_page_shows_hostile_content_as_text(receiver: httpx.Client) -> None:
    receiver.post("/", content=BODY, headers=signed())
    receiver.post("/", content=b"\xff\x00\x1b[2J", headers={"X-OneProtect-Event": "<b>bold</b>"})
    page = receiver.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert" in page.text
    assert "<b>bold" not in page.text
    assert "\x1b" not in page.text
    assert page.text.index("&lt;b&gt;bold") < page.text.index("alert.created")


def test_the_page_asks_for_newer_rows_only(receiver: httpx.Client) -> None:
    receiver.post("/", content=b"1", headers={"webhook-id": "first"})
    newest = items(receiver)[0]["id"]
    assert receiver.get(f"/rows?after={newest}").text.strip() == ""
    receiver.post("/", content=b"2", headers={"webhook-id": "second"})
    rows = receiver.get(f"/rows?after={newest}").text
    assert "second" in rows
    assert "first" not in rows
    assert receiver.get("/rows?after=x").status_code == 400
    for asset in ("/app.js", "/app.css"):
        assert receiver.get(asset).status_code == 200


def test_a_body_over_the_cap_is_answered_413_and_noted(receiver: httpx.Client) -> None:
    assert receiver.post("/", content=bytes(MAX_BODY_BYTES)).status_code == 200
    assert receiver.post("/", content=bytes(MAX_BODY_BYTES + 1)).status_code == 413
    assert "larger than" in str(items(receiver)[0]["reason"])


def test_clearing_forgets_everything(receiver: httpx.Client) -> None:
    receiver.post("/", content=b"x")
    assert receiver.delete("/api/requests").status_code == 204
    assert items(receiver) == []


def test_a_hangup_in_the_middle_of_a_body_leaves_it_alive(receiver: httpx.Client) -> None:
    def half() -> Iterator[bytes]:
        yield b"abc"
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        receiver.post("/", content=half(), headers={"Content-Length": "100"})
    assert receiver.get("/health/live").status_code == 200
    assert items(receiver) == []


def test_each_webhook_is_one_line_that_no_header_can_break(tmp_path: Path) -> None:
    with running(tmp_path, "receiver", "--port", "0", "--secret", SECRET.reveal()) as program:
        where = program.wait_for("listens on").split()[-1]
        with client(where) as http:
            http.post("/", content=BODY, headers=signed(attempt=3))
            http.post("/", content=BODY, headers={"webhook-id": b"a\x9b2Jb"})
        line = program.wait_for("evt_1")
        assert line.endswith("alert.created evt_1 attempt 3: verified, answered 200")
        eventually(lambda: len(program.lines) == 3)
        assert "\x9b" not in program.lines[2]
        assert program.stop() == 0


def test_only_the_newest_are_kept() -> None:
    inbox = Inbox([], Behaviour())
    for number in range(MAX_KEPT + 5):
        inbox.take(f"/{number}", {}, b"x", complete=True)
    kept = [one.path for one in inbox.newest_first()]
    assert (len(kept), kept[0], kept[-1]) == (MAX_KEPT, f"/{MAX_KEPT + 4}", "/5")


def test_large_bodies_push_out_the_oldest() -> None:
    inbox = Inbox([], Behaviour())
    for number in range(40):
        inbox.take(f"/{number}", {}, bytes(MAX_BODY_BYTES), complete=True)
    assert len(list(inbox.newest_first())) == MAX_KEPT_BYTES // MAX_BODY_BYTES

"""What arrived, whether its signature holds, and how to answer."""

import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from app.sending.signing import Secret, VerificationError, verify

MAX_KEPT: Final = 500
MAX_BODY_BYTES: Final = 2 * 1024 * 1024
#: 500 bodies of the largest size would fill a developer's machine.
MAX_KEPT_BYTES: Final = 64 * 1024 * 1024
MAX_SHOWN_CHARS: Final = 100_000
MAX_COUNTED_IDS: Final = 10_000
UNCHECKED: Final = "not checked (no secret given)"
TOO_LARGE: Final = f"the body is larger than {MAX_BODY_BYTES} bytes"


def visible(text: str) -> str:
    """Replace what a stranger could send to confuse a terminal or a page: control characters."""
    return "".join(mark if mark.isprintable() or mark in "\n\t" else "\ufffd" for mark in text)


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """How to misbehave: `status` always, or only for the first `fail_first` of each webhook id."""

    fail_first: int = 0
    status: int | None = None
    delay_s: float = 0.0

    def answer(self, seen_before: int) -> int:
        if self.fail_first:
            return (self.status or 503) if seen_before < self.fail_first else 200
        return self.status or 200


class Received(msgspec.Struct, kw_only=True):
    """One request; `verified` is None as long as there is no secret to check it with."""

    id: str
    received_at: datetime
    path: str
    headers: dict[str, str]
    raw: bytes
    answered: int
    verified: bool | None = None
    reason: str = UNCHECKED

    @property
    def body(self) -> str:
        return self.raw.decode("utf-8", "replace")

    @property
    def pretty(self) -> str:
        """Return the body, indented when it is JSON, else as it came; cut for a page."""
        try:
            text = msgspec.json.format(self.raw).decode("utf-8", "replace")
        except (msgspec.DecodeError, RecursionError):
            text = self.body
        if len(text) <= MAX_SHOWN_CHARS:
            return text
        return f"{text[:MAX_SHOWN_CHARS]}\n… cut here; all of it is at /api/requests"

    @property
    def verdict(self) -> str:
        return {True: "verified", False: "not verified", None: "not checked"}[self.verified]

    @property
    def message_id(self) -> str:
        return self.header("id")

    @property
    def event(self) -> str:
        return self.header("event")

    @property
    def attempt(self) -> str:
        return self.header("attempt")

    def header(self, name: str) -> str:
        return self.headers.get(f"x-oneprotect-{name}") or self.headers.get(f"webhook-{name}", "")

    def public(self) -> dict[str, object]:
        """Return what `GET /api/requests` shows."""
        return {
            "id": self.id,
            "received_at": self.received_at,
            "path": self.path,
            "headers": self.headers,
            "body": self.body,
            "verified": self.verified,
            "reason": self.reason,
            "answered": self.answered,
        }


class Inbox:
    """The newest requests, in memory only."""

    def __init__(self, secrets: list[Secret], behaviour: Behaviour) -> None:
        self.secrets = secrets
        self.behaviour = behaviour
        self._kept: deque[Received] = deque()
        self._kept_bytes = 0
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._last_id = 0

    def take(
        self, path: str, headers: Mapping[str, str], body: bytes, *, complete: bool
    ) -> Received:
        """Record, verify and decide the answer; `complete` is false when the body was cut."""
        one = Received(
            id=self._next_id(),
            received_at=datetime.now(UTC),
            path=path,
            headers=dict(headers),
            raw=body,
            answered=413,
        )
        if complete:
            one.answered = self.behaviour.answer(self._count(one.message_id))
            self._check(one)
        else:
            one.verified, one.reason = False, TOO_LARGE
        self._keep(one)
        return one

    def add_secret(self, secret: Secret) -> None:
        """Check with this secret too, also what arrived before it was known."""
        if secret not in self.secrets:
            self.secrets.append(secret)
        for one in self._kept:
            if one.reason != TOO_LARGE:
                self._check(one)

    def newest_first(self, *, after: int = 0) -> Iterator[Received]:
        return (one for one in reversed(self._kept) if int(one.id) > after)

    def clear(self) -> None:
        self._kept.clear()
        self._kept_bytes = 0

    def _check(self, one: Received) -> None:
        if not self.secrets:
            return
        try:
            verify(self.secrets, one.headers, one.raw, now=one.received_at.timestamp())
        except VerificationError as error:
            one.verified, one.reason = False, error.reason
        else:
            one.verified, one.reason = True, "the signature matches"

    def _count(self, message_id: str) -> int:
        seen = self._seen.pop(message_id, 0)
        self._seen[message_id] = seen + 1
        if len(self._seen) > MAX_COUNTED_IDS:
            self._seen.popitem(last=False)
        return seen

    def _keep(self, one: Received) -> None:
        self._kept.append(one)
        self._kept_bytes += len(one.raw)
        while len(self._kept) > MAX_KEPT or self._kept_bytes > MAX_KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popleft().raw)

    def _next_id(self) -> str:
        # The time, so that an open page goes on after a restart of the receiver.
        self._last_id = max(self._last_id + 1, time.time_ns())
        return str(self._last_id)

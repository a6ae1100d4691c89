"""Every way a receiver can misbehave, all at once through real workers, each with its word."""

import asyncio
import time
from contextlib import AsyncExitStack

from app.sending.outcome import OutcomeKind as Kind
from tests.behaviours import (
    Behaviour,
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
    large_body,
    never,
    redirect,
    reset,
    reset_mid_body,
    truncated_chunk,
)
from tests.chaos.pace import crowding
from tests.chaos.scene import Scene
from tests.chaos.site import TIMEOUT_S
from tests.receiver import Authority, Receiver, closed_port

MAX_GROWTH_MB = 48

BEHAVIOURS: dict[str, tuple[Behaviour, Kind, int | None]] = {
    "resets": (reset, Kind.PROTOCOL_ERROR, None),
    "resets mid-body": (reset_mid_body, Kind.PROTOCOL_ERROR, 200),
    "hangs up": (hang_up, Kind.PROTOCOL_ERROR, None),
    "never answers": (never, Kind.TIMEOUT, None),
    "drips": (drip(0.1), Kind.TIMEOUT, 200),
    "endless 103": (endless_103(), Kind.PROTOCOL_ERROR, None),
    "slow endless 103": (endless_103(0.1), Kind.TIMEOUT, None),
    "two 103": (early_hints(2), Kind.DELIVERED, 200),
    "10 MB": (large_body(), Kind.RESPONSE_TOO_LARGE, 200),
    "10 MB in chunks": (large_body(announced=False), Kind.RESPONSE_TOO_LARGE, 200),
    "gzip bomb": (gzip_bomb(), Kind.DELIVERED, 200),
    "truncated chunk": (truncated_chunk, Kind.PROTOCOL_ERROR, 200),
    "bad chunk": (bad_chunk, Kind.PROTOCOL_ERROR, None),
    "not HTTP": (garbage, Kind.PROTOCOL_ERROR, None),
    "invalid UTF-8": (answer(200, b"\xff\xfe\xc3("), Kind.DELIVERED, 200),
    "NUL bytes": (answer(500, b"a\0b\0"), Kind.HTTP_ERROR, 500),
    "100 KB of headers": (huge_headers(), Kind.RESPONSE_TOO_LARGE, None),
    "101": (answer(101, b""), Kind.HTTP_ERROR, 101),
    "204": (answer(204, b""), Kind.DELIVERED, 204),
    "304": (answer(304, b""), Kind.HTTP_ERROR, 304),
    "410": (answer(410), Kind.GONE, 410),
    "429": (answer(429), Kind.RATE_LIMITED, 429),
    "HTTP/1.0": (http_1_0, Kind.DELIVERED, 200),
}


async def test_every_misbehaviour_is_recorded_with_its_outcome_in_time(scene: Scene) -> None:
    for worker in scene.site.workers:
        worker.forget_peak()
    before_mb = [worker.peak_mb for worker in scene.site.workers]
    async with AsyncExitStack() as stack:
        wanted = await set_up(scene, stack)
        published = await scene.client.post(
            "/api/v1/events", json={"type": scene.event_type, "data": {}}
        )
        began = time.monotonic()
        found = await first_attempts(scene, len(wanted))
        took_s = time.monotonic() - began
        for destination_id in wanted:
            await scene.remove_destination(destination_id)

    assert len(wanted) + 1 == published.json()["deliveries"]  # and the well-behaved lane
    got = {name: found[lane][:2] for lane, (name, _, _) in wanted.items()}
    assert {name: (kind, status) for name, kind, status in wanted.values()} == got
    assert max(row[2] for row in found.values()) < (TIMEOUT_S + 1) * 1000 * crowding()
    assert took_s < (TIMEOUT_S + 2) * crowding()
    grown_mb = [w.peak_mb - b for w, b in zip(scene.site.workers, before_mb, strict=True)]
    assert max(grown_mb) < MAX_GROWTH_MB, f"the workers grew by {grown_mb} MB"


async def set_up(scene: Scene, stack: AsyncExitStack) -> dict[str, tuple[str, Kind, int | None]]:
    """Make a destination for every misbehaviour; return by id what its attempt should say."""
    wanted = {}
    urls = {
        "refuses": (f"http://127.0.0.1:{closed_port()}/hook", Kind.CONNECT_ERROR, None),
        "unknown certificate": (await https(stack), Kind.TLS_ERROR, None),
    }
    for name, (behaviour, kind, status) in BEHAVIOURS.items():
        receiver = await stack.enter_async_context(Receiver(behaviour))
        urls[name] = (receiver.url, kind, status)
    looped = await stack.enter_async_context(Receiver())
    looped.behaviour = redirect(looped.url)
    urls["redirect loop"] = (looped.url, Kind.HTTP_ERROR, 302)
    plain = await stack.enter_async_context(Receiver(greeting=b"220 mail.example ESMTP\r\n"))
    urls["no TLS behind https"] = (plain.url.replace("http:", "https:"), Kind.TLS_ERROR, None)
    for name, (url, kind, status) in urls.items():
        wanted[await scene.make_destination(url)] = (name, kind, status)
    return wanted


async def https(stack: AsyncExitStack) -> str:
    """Start a receiver whose certificate nobody vouches for."""
    receiver = await stack.enter_async_context(Receiver(tls=Authority().server("127.0.0.1")))
    return receiver.url


async def first_attempts(scene: Scene, count: int) -> dict[str, tuple[Kind, int | None, int]]:
    """Wait until so many lanes were tried; return outcome, status and duration by lane."""
    async with asyncio.timeout(10):
        while True:
            rows = await scene.record.rows(
                "SELECT d.destination_id, a.outcome, a.response_status, a.duration_ms"
                " FROM attempt a JOIN delivery d"
                " ON d.tenant_id = a.tenant_id AND d.id = a.delivery_id"
                " WHERE d.event_type = :type AND a.number = 1"
                " AND d.destination_id <> :lane", lane=scene.lane,
            )  # fmt: skip
            if len(rows) >= count:
                return {row[0]: (Kind(row[1]), row[2], row[3]) for row in rows}
            await asyncio.sleep(0.05)

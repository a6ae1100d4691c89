"""Strange but real JSON: taken byte for byte or refused in words, never a failure of ours."""

import pytest

from app.events.intake import MAX_DEPTH
from app.events.models import Event
from tests.api.rows import count
from tests.world import World


@pytest.fixture
def world(shared: World) -> World:
    return shared


DEEPEST = b'{"x":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH
REFUSED = {
    "empty": b"",
    "cut": b'{"type":"a","data":{"x":',
    "two values": b'{"type":"a","data":{}} {}',
    "not a number": b'{"type":"a","data":{"x":NaN}}',
    "infinity": b'{"type":"a","data":{"x":-Infinity}}',
    "beyond a float": b'{"type":"a","data":{"x":1e999}}',
    "an integer of 5000 digits": b'{"type":"a","data":{"x":' + b"9" * 5000 + b"}}",
    "half a surrogate pair": b'{"type":"a","data":{"x":"\\ud800"}}',
    "the other half": b'{"type":"a","data":{"\\udfff":1}}',
    "surrogates as bytes": b'{"type":"a","data":{"x":"\xed\xa0\x80"}}',
    "latin-1": b'{"type":"a","data":{"x":"\xfc"}}',
    "latin-1 between values": b'{"type":"a","data":{"x":1\xa0}}',
    "a byte order mark": b'\xef\xbb\xbf{"type":"a","data":{}}',
    "utf-16": '{"type":"a","data":{}}'.encode("utf-16"),
    "a raw control character": b'{"type":"a","data":{"x":"\x00"}}',
    "single quotes": b"{'type':'a','data':{}}",
    "a trailing comma": b'{"type":"a","data":{"x":1,}}',
    "a comment": b'{"type":"a","data":{}/* x */}',
    "a leading zero": b'{"type":"a","data":{"x":01}}',
    "nested too deeply": b'{"type":"a","data":' + b'{"x":' + DEEPEST + b"}}",
    "lists nested too deeply": b'{"type":"a","data":{"x":' + b"[" * 5000 + b"]" * 5000 + b"}}",
    "nested without an end": b'{"type":"a","data":' + b'{"x":' * 100_000,
}  # fmt: skip
TAKEN = {
    "the deepest": DEEPEST,
    "nothing": b"{}",
    "an escaped NUL": b'{"x":"a\\u0000b","\\u0000":1}',
    "a surrogate pair": b'{"x":"\\ud83d\\ude00 \xf0\x9f\x98\x80"}',
    "duplicate keys": b'{"x":1,"x":2,"x":1}',
    "a big integer": b'{"x":' + b"9" * 400 + b"}",
    "a long fraction": b'{"x":0.' + b"1" * 400 + b"}",
    "minus zero": b'{"x":-0,"y":-0.0,"z":1E+2}',
    "line separators": b'{"x":"\xe2\x80\xa8\xe2\x80\xa9"}',
    "a closing script": b'{"x":"</script><script>alert(1)</script>"}',
    "an empty key": b'{"":""}',
}


async def test_what_is_no_json_or_cannot_be_read_again_is_refused(world: World) -> None:
    before = await count(world.database, Event)

    for what, raw in REFUSED.items():
        answer = await world.as_("acme_admin").post("/events", content=raw)

        assert answer.status_code == 400, what
        assert answer.headers["content-type"] == "application/problem+json", what
        assert answer.json()["detail"], what

    assert before == await count(world.database, Event)


async def test_what_is_json_is_kept_as_it_came_and_can_be_repeated(world: World) -> None:
    admin = world.as_("acme_admin")
    for what, data in TAKEN.items():
        raw = b'{"type":"a","id":"%s","data":' % what.encode() + data + b"}"

        first = await admin.post("/events", content=raw)
        again = await admin.post("/events", content=raw)
        read = await admin.get(f"/events/{first.json()['id']}")

        assert (202, 200, first.json()) == (first.status_code, again.status_code, again.json()), (
            what
        )
        assert b'"data":' + data + b"}" in read.content, what


async def test_the_last_of_repeated_names_counts_in_the_envelope(world: World) -> None:
    raw = b'{"type":"a","data":{"x":1},"type":"b","data":{"x":2}}'

    answer = await world.as_("acme_admin").post("/events", content=raw)

    read = (await world.as_("acme_admin").get(f"/events/{answer.json()['id']}")).json()
    assert ("b", {"x": 2}) == (read["type"], read["payload"]["data"])

"""Reading events without a database: the bytes that leave are the bytes that came."""

import json
import re
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.database.base import moment_of
from app.errors import Invalid, TooLarge
from app.events import intake

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False,
    allow_infinity=False) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def composed(raw: bytes, own_tenant: str | None = "acme") -> intake.NewEvent:
    event = intake.parse_event(raw, own_tenant)
    (made,) = intake.compose([event], own_tenant=own_tenant, batch=False)
    return made


@given(data=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON, max_size=5),
       escaped=st.booleans(), indent=st.sampled_from([None, 1]))  # fmt: skip
def test_any_object_goes_through_byte_for_byte(
    data: dict[str, object], escaped: bool, indent: int | None
) -> None:
    sent = json.dumps(data, ensure_ascii=escaped, indent=indent).encode()

    made = composed(b'{"type":"a.b","data":' + sent + b',"id":"k"}')

    assert made.body.endswith(b',"data":' + sent + b"}")
    assert intake.data_of(made.body) == msgspec.json.decode(sent)
    assert ["id", "type", "timestamp", "tenant", "data"] == list(json.loads(made.body))


def test_no_event_is_of_a_later_millisecond_than_it_says() -> None:
    """Else a replay up to its time of publication would miss it."""
    event = intake.parse_event(b'{"type":"a.b","data":{}}', "acme")
    for _ in range(30):
        made = intake.compose([event] * 200, own_tenant="acme", batch=True)
        assert made[-1].created_at == max(moment_of(one.id) for one in made)
        assert len({one.created_at for one in made}) == 1


@given(raw=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_an_event_or_a_refusal(raw: bytes) -> None:
    for parse in (intake.parse_event, intake.parse_batch):
        with pytest.raises(Invalid):
            parse(raw, "acme")


@given(body=JSON)
def test_any_json_is_an_event_or_a_refusal_that_names_a_field(body: object) -> None:
    raw = json.dumps(body).encode()
    for own_tenant in ("acme", None):
        with pytest.raises(Invalid) as caught:
            composed(raw, own_tenant)
        assert caught.value.errors


def test_the_timestamp_is_utc_in_milliseconds() -> None:
    made = composed(b'{"type":"a","data":{}}')

    stamp = json.loads(made.body)["timestamp"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp)
    assert datetime.fromisoformat(stamp) == made.created_at <= datetime.now(UTC)


def test_the_id_in_the_body_is_the_id_of_the_event_and_never_the_publishers() -> None:
    made = composed(b'{"type":"a","data":{},"id":"my.own"}')

    assert re.fullmatch(r"evt_[0-9a-f]{32}", made.id)
    assert made.body.startswith(b'{"id":"%s",' % made.id.encode())
    assert b"my.own" not in made.body
    assert "my.own" == made.idempotency_key


def test_white_space_round_data_is_not_part_of_it() -> None:
    made = composed(b'{"type":"a","data": \n\t {"x": 1} \r\n }')

    assert made.body.endswith(b',"data":{"x": 1}}')


def test_the_limit_counts_the_bytes_of_data_alone() -> None:
    data = b'{"x":"' + b"a" * (intake.MAX_DATA_BYTES - 8) + b'"}'
    assert intake.MAX_DATA_BYTES == len(data)

    composed(b'{"type":"a","data":  ' + data + b"  }")
    with pytest.raises(TooLarge, match="data has 1048577 bytes; the limit is 1048576 bytes"):
        composed(b'{"type":"a","data":' + data.replace(b"a", b"aa", 1) + b"}")


@pytest.mark.parametrize("event_type", ["a", "alert.created", "A_1.b.C", "x" * 128, "0.0"])
def test_types_are_dotted_words(event_type: str) -> None:
    assert event_type == composed(b'{"type":"%s","data":{}}' % event_type.encode()).type


def test_ids_made_in_a_row_rise() -> None:
    ids = [composed(b'{"type":"a","data":{}}').id for _ in range(200)]

    assert ids == sorted(set(ids))

"""The trail in words: each action has its sentence, and a change says from what to what."""

import re

import pytest

from app.audit.models import Action
from app.audit.words import sentence


@pytest.mark.parametrize(
    ("action", "label", "changes", "told"),
    [
        (
            Action.DESTINATION_UPDATED,
            "Pager",
            {
                "rate_limit_per_second": {"from": 10, "to": 50},
                "name": {"from": "Pager", "to": "Two"},
            },
            "Changed the destination Pager: rate limit from 10/s to 50/s, name from Pager to Two",
        ),
        (
            Action.DESTINATION_UPDATED,
            "Pager",
            {"event_types": {"from": [], "to": ["alert.*", "incident.opened"]}},
            "Changed the destination Pager: event types from all to alert.* incident.opened",
        ),
        (
            Action.DESTINATION_UPDATED,
            "Pager",
            {
                "ordered": {"from": False, "to": True},
                "rate_limit_per_second": {"from": 9, "to": None},
            },
            "Changed the destination Pager: strict order on, rate limit from 9/s to none",
        ),
        (
            Action.DESTINATION_UPDATED,
            "Pager",
            {"header_values": ["X-Key"]},
            "Changed the destination Pager: values of headers X-Key",
        ),
        (
            Action.DESTINATION_DISABLED,
            "Pager",
            {"reason": "410 from the receiver"},
            "Disabled the destination Pager (410 from the receiver)",
        ),
        (
            Action.DESTINATION_CREATED,
            "Pager",
            {"name": "Pager", "endpoint_url": "https://a.example/h", "ordered": False},
            "Created the destination Pager to https://a.example/h",
        ),
        (
            Action.DESTINATION_SECRET_ROTATED,
            "Pager",
            {"secret": "sha256:1", "overlap_seconds": 86_400},
            "Rotated the secret of the destination Pager; the old one is valid for 24 hours more",
        ),
        (
            Action.DESTINATION_SECRET_ROTATED,
            "Pager",
            {"secret": "sha256:1", "overlap_seconds": 0},
            "Rotated the secret of the destination Pager; the old one is valid no longer",
        ),
        (
            Action.DELIVERIES_RETRIED,
            "3 deliveries",
            {"retried": 3, "skipped": 2, "state": "failed", "event_type": "alert.created"},
            "Retried 3 deliveries with state failed, event type alert.created; 2 were left alone",
        ),
        (
            Action.REPLAY_FINISHED,
            "Pager",
            {"destination_id": "dst_1", "scanned": 9, "matched": 5, "created": 5},
            "Finished the replay to Pager after 5 deliveries",
        ),
        (Action.MEMBER_SIGNED_IN, "ann@a.example", {}, "ann@a.example signed in"),
        (
            Action.TOKEN_CREATED,
            "SIEM",
            {"role": "tenant_admin"},
            "Created the API token SIEM as tenant admin",
        ),
        (
            Action.MEMBER_ROLE_CHANGED,
            "ann@a.example",
            {"role": {"from": "operator", "to": "tenant_admin"}},
            "Changed the role of ann@a.example from operator to tenant admin",
        ),
        (
            Action.DATA_PRUNED,
            "retention",
            {"days": 90, "removed": {"event": 5, "delivery": 0, "attempt": 9}},
            "Removed by retention what was past its time: event 5, attempt 9",
        ),
        # Of a newer version, or nobody knows of what shape.
        ("gadget.polished", "Pager", {"gloss": {"from": 1, "to": 2}},
         "Polished the gadget Pager: gloss from 1 to 2"),
        ("odd", "Pager", {"a": {"b": 1}}, "The odd Pager: a {'b': 1}"),
    ],
)  # fmt: skip
def test_a_change_says_from_what_to_what(
    action: str, label: str, changes: dict[str, object], told: str
) -> None:
    assert told == sentence(action, label, changes)


@pytest.mark.parametrize("action", Action)
def test_every_action_has_its_sentence(action: Action) -> None:
    bare = sentence(action, "Pager", {})
    full = sentence(
        action, "Pager",
        {"reason": "gone", "role": "operator", "secret": "s", "overlap_seconds": 60, "created": 1,
         "since": "2026", "name": {"from": "a", "to": None}},
    )  # fmt: skip

    for told in (bare, full):
        assert "Pager" in told
        assert "_" not in told
        assert re.match(r"(Pager signed|[A-Z][a-z]+)", told), told
        assert len(told.split()) >= 2
    others = {sentence(other, "Pager", {}) for other in Action if other is not action}
    assert bare not in others


def test_a_long_value_is_cut() -> None:
    told = sentence("destination.updated", "P", {"description": {"from": "", "to": "x" * 500}})

    assert told.endswith("…")
    assert len(told) < 200

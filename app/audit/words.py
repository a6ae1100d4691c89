"""What an entry of the trail says to a person: one sentence from its action and its changes."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from app.audit.models import Action

#: More of a value than this helps nobody in a sentence; the entry itself has all of it.
SHOWN: Final = 100

Changes = Mapping[str, Any]

#: How fields are called, where their name with spaces is not it.
_NAMES: Final = {
    "asymmetric_signature": "Ed25519 signature",
    "endpoint_url": "URL",
    "event_types": "event types",
    "header_values": "values of headers",
    "ordered": "strict order",
    "rate_limit_per_second": "rate limit",
}


def sentence(action: str, label: str, changes: Changes) -> str:
    """Say who-less what was done: `Changed the destination Pager: rate limit from 10/s to 50/s`.

    Also for an action that a newer version wrote, and for changes of any shape: a trail outlives
    the program that wrote it.
    """
    special = _SPECIAL.get(action)
    if special is not None:
        return special(label, changes)
    subject, _, past = action.partition(".")
    told = f"{_spaced(past)} the {_spaced(subject)} {label}".strip()
    told = told[:1].upper() + told[1:]
    return _with(told, _clauses(changes))


def _updated(kind: str) -> Callable[[str, Changes], str]:
    return lambda label, changes: _with(f"Changed the {kind} {label}", _clauses(changes))


def _created_destination(label: str, changes: Changes) -> str:
    told = f"Created the destination {label}"
    url = changes.get("endpoint_url")
    return f"{told} to {_cut(str(url))}" if url else told


def _with_reason(told: str) -> Callable[[str, Changes], str]:
    def say(label: str, changes: Changes) -> str:
        reason = changes.get("reason")
        return (
            f"{told.format(label=label)} ({_cut(str(reason))})"
            if reason
            else told.format(label=label)
        )

    return say


def _with_role(told: str) -> Callable[[str, Changes], str]:
    def say(label: str, changes: Changes) -> str:
        role = changes.get("role")
        return f"{told} {label} as {_spaced(str(role))}" if role else f"{told} {label}"

    return say


def _rotated(label: str, changes: Changes) -> str:
    overlap = changes.get("overlap_seconds")
    told = f"Rotated the secret of the destination {label}"
    if overlap is None:
        return told
    old = f"for {_span(overlap)} more" if overlap else "no longer"
    return f"{told}; the old one is valid {old}"


def _revoked(label: str, changes: Changes) -> str:
    which = f" {changes['secret']}" if changes.get("secret") else ""
    return f"Revoked the secret{which} of the destination {label}"


def _many(verb: str, count: str) -> Callable[[str, Changes], str]:
    def say(label: str, changes: Changes) -> str:
        filters = [
            f"{_name(field)} {_shown(field, value)}"
            for field, value in changes.items()
            if field not in (count, "skipped") and value not in (None, "")
        ]
        which = f" with {', '.join(filters)}" if filters else ""
        left = changes.get("skipped")
        return f"{verb} {label}{which}" + (f"; {left} were left alone" if left else "")

    return say


def _replay(verb: str) -> Callable[[str, Changes], str]:
    def say(label: str, changes: Changes) -> str:
        told = verb.format(f"the replay to {label}")
        if "since" in changes:
            until = f" until {changes['until']}" if changes.get("until") else ""
            told = f"{told} of events from {changes['since']}{until}"
        if "created" in changes:
            count = changes["created"]
            told = f"{told} after {count} deliver{'y' if count == 1 else 'ies'}"
        reason = changes.get("reason")
        return f"{told} ({_cut(str(reason))})" if reason else told

    return say


def _retention(label: str, changes: Changes) -> str:
    removed = changes.get("removed")
    told = f"Removed by {label} what was past its time"
    return _with(told, _clauses(removed) if isinstance(removed, dict) else [])


def _role_changed(label: str, changes: Changes) -> str:
    return " ".join([f"Changed the role of {label}", *_fromto(changes.get("role"))])


def _fromto(role: Any) -> list[str]:
    if not (isinstance(role, dict) and role.keys() == {"from", "to"}):
        return []
    return [f"from {_spaced(str(role['from']))} to {_spaced(str(role['to']))}"]


_SPECIAL: Final[Mapping[str, Callable[[str, Changes], str]]] = {
    Action.AUDIT_PRUNED: lambda label, changes: _with(f"{label} pruned", _clauses(changes)),
    Action.DATA_PRUNED: _retention,
    Action.DELIVERIES_CANCELLED: _many("Cancelled", "cancelled"),
    Action.DELIVERIES_RETRIED: _many("Retried", "retried"),
    Action.DESTINATION_CREATED: _created_destination,
    Action.DESTINATION_DISABLED: _with_reason("Disabled the destination {label}"),
    Action.DESTINATION_SECRET_REVOKED: _revoked,
    Action.DESTINATION_SECRET_ROTATED: _rotated,
    Action.DESTINATION_TESTED: lambda label, _: f"Sent a test event to the destination {label}",
    Action.DESTINATION_UPDATED: _updated("destination"),
    Action.EVENT_TYPE_REMOVED: lambda label, _: f"Removed the event type {label}",
    Action.MEMBER_CREATED: _with_role("Added the member"),
    Action.MEMBER_INVITED: _with_role("Invited the member"),
    Action.MEMBER_JOINED: lambda label, _: f"{label} took up the invitation",
    Action.MEMBER_LINKED: lambda label, _: f"{label} went over to single sign-on",
    Action.MEMBER_REMOVED: lambda label, _: f"Removed the member {label}",
    Action.MEMBER_ROLE_CHANGED: _role_changed,
    Action.MEMBER_SIGN_IN_REFUSED: _with_reason("Refused to let {label} sign in"),
    Action.MEMBER_SIGNED_IN: lambda label, _: f"{label} signed in",
    Action.MEMBER_SIGNED_OUT: lambda label, _: f"{label} signed out",
    Action.REPLAY_CANCELLED: _replay("Cancelled {}"),
    Action.REPLAY_FAILED: _replay("Gave up {}"),
    Action.REPLAY_FINISHED: _replay("Finished {}"),
    Action.REPLAY_PAUSED: _replay("Paused {}"),
    Action.REPLAY_RESUMED: _replay("Resumed {}"),
    Action.REPLAY_STARTED: _replay("Started {}"),
    Action.SECRETS_REKEYED: lambda label, changes: _with(
        f"Sealed {label} with the newest key", _clauses(changes)
    ),
    Action.SESSION_ENDED: lambda label, _: f"Ended a session of {label}",
    Action.SESSIONS_ENDED: lambda label, _: f"Ended every session of {label}",
    Action.TOKEN_CREATED: _with_role("Created the API token"),
    Action.TOKEN_REVOKED: lambda label, _: f"Revoked the API token {label}",
}


def _with(told: str, clauses: list[str]) -> str:
    return f"{told}: {', '.join(clauses)}" if clauses else told


def _clauses(changes: Changes) -> list[str]:
    return [clause for field, value in changes.items() if (clause := _clause(field, value))]


def _clause(field: str, value: Any) -> str:
    if not (isinstance(value, dict) and value.keys() == {"from", "to"}):
        return (
            "" if value in (None, "", [], {}, False) else f"{_name(field)} {_shown(field, value)}"
        )
    old, new = value["from"], value["to"]
    if isinstance(new, bool):
        return f"{_name(field)} {'on' if new else 'off'}"
    return f"{_name(field)} from {_shown(field, old)} to {_shown(field, new)}"


def _shown(field: str, value: Any) -> str:
    if value in (None, "", [], {}):
        return "all" if field == "event_types" else "none"
    if field == "rate_limit_per_second":
        return f"{value}/s"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return _cut(" ".join(map(str, value)))
    return _cut(str(value))


def _name(field: str) -> str:
    return _NAMES.get(field, _spaced(field))


def _spaced(word: str) -> str:
    return word.replace("_", " ")


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _span(seconds: int) -> str:
    for length, unit in ((3_600, "hour"), (60, "minute")):
        if seconds % length == 0:
            count = seconds // length
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds} seconds"

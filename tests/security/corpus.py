"""The corpus of hostile and honest URLs, as it is put to write paths and to stored rows."""

from typing import Any

from app.destinations.rules import Egress
from app.sending.egress import EgressPolicy
from tests.sending.resolvers import Answers
from tests.sending.test_corpus import ENTRIES, wanted

#: Our own machine's rule plays no part here: what a name means stands in the entry itself.
POLICY = EgressPolicy()


def entries(verdict: str, *, stage: str = "create", private: bool = False) -> list[dict[str, Any]]:
    """Return the entries with that verdict; `private` keeps those that get the fixed text."""
    found = [
        entry
        for entry in ENTRIES
        if entry.get("stage", "create") == stage
        and wanted(entry) == verdict
        and (not private or entry.get("message") == "private")
    ]
    assert found
    return found


def egress_for(*chosen: dict[str, Any]) -> Egress:
    """Return the egress rules under which these entries are judged, each with its names."""
    table: dict[str, list[str]] = {}
    for entry in chosen:
        for host, answers in entry.get("dns", {}).items():
            assert table.setdefault(host, answers) == answers, f"{host} means two things"
    return Egress(POLICY, Answers(table))


def is_storable(url: object) -> bool:
    """Whether both databases can keep it as text at all."""
    if not isinstance(url, str) or "\0" in url:
        return False
    try:
        url.encode()
    except UnicodeEncodeError:
        return False
    return True

"""A tenant with a day of traffic behind it: what the README shows, drawn by the product itself."""

import math
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.deliveries.rollup import SLOTS, bucket_of, slot_of
from tests.browser.conftest import OpenPage
from tests.browser.installation import Installation, installed
from tests.tools.programs import client

ADMIN = {"Authorization": "Bearer op_local_acme_admin"}
#: Name, address, attempts per quarter of an hour, their usual milliseconds.
PLACES = (
    ("Tenant SOC webhook", "https://hooks.acme-soc.example/oneprotect", 900, 41),
    ("SIEM collector (EU)", "https://siem-eu.acme.example:8443/hec", 420, 28),
    ("Ticket bridge", "https://bridge.acme.example/v2/in", 180, 380),
    ("Pager relay", "https://relay.pager.example/h/9f3", 60, 95),
)
QUARTER = max(SLOTS)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One of its own: a day of invented counts is no business of other tests."""
    with installed(tmp_path_factory.mktemp("picture")) as installation:
        yield installation


def test_a_day_of_traffic_stands_in_one_picture(
    open_page: OpenPage, installation: Installation, photograph: Callable[[Page, str], None]
):
    ids = [register(installation, name, url) for name, url, _, _ in PLACES]
    failing = register(installation, "Ticket desk (old)", f"{installation.failing}/in", "alert.*")
    delivered = invent(installation.folder, ids)
    installation.publish("alert.created")

    page = open_page()

    expect(page.locator("#health")).to_contain_text(f"{delivered:,}")
    expect(page.locator(f'a[href="/integrations/{failing}"]').first).to_be_visible()
    expect(page.locator("#outcomes rect.failed").first).to_be_attached()
    photograph(page, "1")


def register(installation: Installation, name: str, url: str, types: str = "none.such") -> str:
    body = {"name": name, "endpoint_url": url, "event_types": [types]}
    with client(installation.portal) as api:
        answer = api.post("/api/v1/integrations/destinations", json=body, headers=ADMIN)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def invent(folder: Path, ids: list[str]) -> int:
    """Write counts of the last day; return how many attempts of it were delivered."""
    newest = slot_of(time.time(), QUARTER)
    rows = []
    for (_, _, rate, millis), destination_id in zip(PLACES, ids, strict=True):
        for back in range(1, 90):
            count = int(rate * (1.2 + math.sin(back / 14) + 0.15 * math.sin(back * 7)))
            trouble = count // 3 if 22 <= back <= 27 else count // 60
            where = ("acme", destination_id, QUARTER, newest - back * QUARTER)
            rows.append((*where, "delivered", bucket_of(millis), count))
            rows.append((*where, "retrying", bucket_of(millis * 9), trouble))
            rows.append((*where, "failed", bucket_of(millis * 20), trouble // 6))
    with sqlite3.connect(folder / ".data" / "oneprotect.db", timeout=10) as database:
        database.executemany("INSERT INTO rollup VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    database.close()
    return sum(row[-1] for row in rows if row[4] == "delivered")

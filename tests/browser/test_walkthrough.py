"""What people do, in a real browser, against a real installation, with signed webhooks arriving."""

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from app.sending.signing import Secret, verify
from tests.browser.conftest import OpenPage
from tests.browser.installation import Installation

Photograph = Callable[[Page, str], None]
#: How soon a page must show what happened, without a reload.
LIVE_MS = 2_000
PRIVATE = "endpoint_url must not target a private or reserved address"


def create(page: Page, name: str, url: str, *, event_types: str = "") -> Secret:
    """Fill the card; return the secret that it shows this once."""
    card = page.locator("#create")
    card.get_by_label("Name").fill(name)
    card.get_by_label("Endpoint URL (https)").fill(url)
    card.get_by_label("Event types").fill(event_types)
    card.get_by_role("button", name="Create").click()
    expect(card.get_by_text("Destination created.")).to_be_visible()
    expect(card.get_by_role("link", name=name, exact=True)).to_be_visible()  # this very one
    return Secret.parse(card.locator("#secret-text").inner_text())


def row(page: Page, name: str) -> Locator:
    return page.locator("#destinations tbody tr", has_text=name)


def test_a_tenant_admin_finds_health_and_destinations(open_page: OpenPage, photograph: Photograph):
    page = open_page()

    expect(page.get_by_role("heading", name="Integrations", level=1)).to_be_visible()
    for word in ("Delivered", "Retrying", "Failed", "Waiting"):
        expect(page.locator("#health dt", has_text=word)).to_be_visible()
    expect(page.get_by_role("heading", name="Delivery health", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="Destinations")).to_be_visible()
    expect(page.locator("#stream")).to_have_text(re.compile(r"^\s*Live"))
    labels = page.get_by_role("navigation", name="Main").get_by_role("link").all_inner_texts()
    assert labels == ["Integrations", "Deliveries", "Events", "Audit", "Settings"]
    photograph(page, "1")


def test_a_destination_is_created_in_place(
    open_page: OpenPage, installation: Installation, photograph: Photograph
):
    page = open_page()
    page.evaluate("window.stayed = true")

    create(page, "Tenant SOC webhook", f"{installation.receiver}/created")

    expect(row(page, "/created")).to_contain_text("Tenant SOC webhook", timeout=LIVE_MS)
    expect(page.get_by_role("button", name="Copy")).to_be_visible()
    assert page.evaluate("window.stayed")
    photograph(page, "1")
    page.reload()
    assert "whsec_" not in page.content().replace("Only to bring your own: whsec_ and", "")


def test_an_event_arrives_signed_and_shows_as_delivered_by_itself(
    open_page: OpenPage, installation: Installation, photograph: Photograph
):
    page = open_page()
    secret = create(page, "Signed", f"{installation.receiver}/signed", event_types="signed.event")
    page.evaluate("window.stayed = true")

    event_id = installation.publish("signed.event")
    arrived = installation.wait_until_received(event_id)
    expect(row(page, "/signed").locator(".pill")).to_have_text("delivered", timeout=LIVE_MS)

    assert page.evaluate("window.stayed")
    headers = {name.lower(): value for name, value in arrived["headers"].items()}
    own = {n: v for n, v in headers.items() if n.startswith("x-oneprotect-")}
    assert {"x-oneprotect-signature", "x-oneprotect-timestamp"} <= own.keys()
    # Under its own names alone, as the contract promises.
    standard = {f"webhook-{n}": own[f"x-oneprotect-{n}"] for n in ("id", "timestamp", "signature")}
    body = arrived["body"].encode()
    assert verify([secret], standard, body, now=time.time()) == own["x-oneprotect-id"]
    photograph(page, "1")


def test_a_receiver_that_fails_shows_its_attempts_and_the_next_one(
    open_page: OpenPage, installation: Installation, photograph: Photograph
):
    page = open_page()
    create(page, "Failing", f"{installation.failing}/failing", event_types="failing.event")

    installation.publish("failing.event")

    expect(row(page, "/failing").locator(".pill")).to_have_text("retrying")
    expect(row(page, "/failing")).to_contain_text(re.compile(r"next\s+(in \d+ (s|min)|now)"))
    photograph(page, "1")
    row(page, "/failing").get_by_role("link").click()
    page.get_by_role("link", name="failing.event").click()
    drawer = page.locator("#drawer")
    expect(drawer.locator(".notice")).to_have_text(
        re.compile(r"Attempt \d of 10\s+(in \d+ (s|min)|now)")
    )
    expect(drawer.locator("#attempt-1")).to_contain_text("http error")
    expect(drawer.locator("#attempt-1")).to_contain_text("503")
    expect(drawer).to_contain_text('"severity": "high"')
    expect(drawer.get_by_role("heading", name="failing.event")).to_be_focused()
    assert "delivery=dlv_" in page.url
    photograph(page, "2")

    # The second attempt comes after about 5 s and shows by itself.
    expect(drawer.locator("#attempt-2")).to_be_visible(timeout=15_000)
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)
    page.go_back()
    expect(page.locator("#drawer")).to_be_visible()


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:9000/hook",
        "http://10.0.0.5/hook",
    ],
)
def test_a_private_address_is_refused_in_place(
    open_page: OpenPage, installation: Installation, photograph: Photograph, url: str
):
    page = open_page()
    before = page.locator("#destinations tbody tr").count()
    card = page.locator("#create")

    card.get_by_label("Name").fill("Inside")
    card.get_by_label("Endpoint URL (https)").fill(url)
    card.get_by_role("button", name="Create").click()

    expect(card.locator("#e-endpoint_url")).to_have_text(PRIVATE)
    expect(card.get_by_label("Endpoint URL (https)")).to_have_value(url)
    expect(card.get_by_label("Endpoint URL (https)")).to_be_focused()
    expect(card.get_by_label("Name")).to_have_value("Inside")
    assert page.locator("#destinations tbody tr").count() == before
    photograph(page, re.sub(r"\W+", "-", url))


def test_an_operator_watches_and_changes_nothing(open_page: OpenPage, photograph: Photograph):
    page = open_page("operator@acme.example")

    expect(page.get_by_role("heading", name="Destinations")).to_be_visible()
    expect(page.get_by_text("Create destination")).to_have_count(0)
    expect(page.get_by_role("link", name="Audit", exact=True)).to_have_count(0)
    photograph(page, "1")


def test_an_auditor_reads_the_trail(
    open_page: OpenPage, installation: Installation, photograph: Photograph
):
    create(open_page(), "Audited", f"{installation.receiver}/audited", event_types="none.such")
    page = open_page("auditor@acme.example")
    expect(page.get_by_text("Create destination")).to_have_count(0)

    page.get_by_role("link", name="Audit", exact=True).click()

    newest = page.locator("tbody tr", has_text="Audited").first
    expect(newest).to_contain_text("Created the destination Audited")
    expect(newest).to_contain_text("admin@acme.example")
    page.get_by_role("link", name="Verify the chain").click()
    expect(page.get_by_text("The chain is whole:")).to_be_visible()
    photograph(page, "1")


def test_the_trail_shows_a_change_as_it_happens(open_page: OpenPage, installation: Installation):
    watching = open_page()
    watching.goto("/audit")
    expect(watching.locator("#stream")).to_have_text(re.compile(r"^\s*Live"))

    create(open_page(), "Seen at once", f"{installation.receiver}/x", event_types="none.such")

    expect(watching.locator("tbody tr", has_text="Seen at once")).to_be_visible(timeout=LIVE_MS)


def test_the_other_tenant_sees_none_of_it(
    open_page: OpenPage, installation: Installation, photograph: Photograph
):
    create(open_page(), "Ours alone", f"{installation.receiver}/ours", event_types="ours.event")
    installation.publish("ours.event")
    page = open_page("admin@globex.example")

    for path in ("/integrations", "/deliveries", "/events", "/audit"):
        page.goto(path)
        expect(page.locator("main")).not_to_contain_text("Ours alone")
        expect(page.locator("main")).not_to_contain_text("ours.event")
    photograph(page, "1")


def test_what_is_being_typed_survives_what_arrives(open_page: OpenPage, installation: Installation):
    page = open_page()
    create(page, "Busy", f"{installation.receiver}/busy", event_types="busy.event")
    name = page.locator("#create").get_by_label("Name")
    name.click()
    page.keyboard.type("Half a na")

    installation.publish("busy.event")
    expect(row(page, "/busy").locator(".pill")).to_have_text("delivered")
    page.keyboard.type("me")

    expect(name).to_be_focused()
    expect(name).to_have_value("Half a name")
    expect(page.locator("#create").get_by_text("Destination created.")).to_be_visible()


def test_without_its_stream_a_page_says_so_and_asks(
    open_page: OpenPage, installation: Installation
):
    page = open_page()
    create(page, "Deaf", f"{installation.receiver}/deaf", event_types="deaf.event")
    page.route("**/live", lambda route: route.fulfill(status=204))
    page.reload()
    expect(page.locator("#stream")).to_have_text(re.compile(r"^\s*Reconnecting"))

    installation.publish("deaf.event")

    expect(row(page, "/deaf").locator(".pill")).to_have_text("delivered")
    expect(page.locator("#stream")).to_have_text(re.compile(r"^\s*Reconnecting"))


def test_an_admin_tests_rotates_disables_and_deletes(
    open_page: OpenPage, installation: Installation, photograph: Photograph
):
    page = open_page()
    create(page, "Short-lived", f"{installation.receiver}/short", event_types="none.such")
    row(page, "/short").get_by_role("link").click()

    page.get_by_role("button", name="Send test event").click()
    expect(page.locator("#drawer .notice")).to_contain_text("Delivered with attempt 1")
    expect(page.locator("#toasts")).to_contain_text("Test event sent.")

    page.get_by_text("Rotate secret").first.click()
    page.get_by_role("button", name="Rotate secret").click()
    shown = page.locator("#secret-text")
    Secret.parse(shown.inner_text())
    page.get_by_role("link", name="Close this delivery").click()
    expect(page.locator("#drawer")).to_have_count(0)
    expect(shown).to_be_visible()  # what is shown once is not swept away by a refresh
    photograph(page, "1")

    page.get_by_role("button", name="Disable…").click()
    page.get_by_role("dialog").get_by_role("button", name="Disable").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("disabled")
    page.get_by_role("button", name="Enable").click()
    expect(page.get_by_role("button", name="Send test event")).to_be_visible()

    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Type Short-lived to confirm").fill("Short-lived")
    page.get_by_role("button", name="Delete").click()
    page.wait_for_url("**/integrations")
    expect(row(page, "/short")).to_have_count(0)


def test_without_javascript_everything_is_there(
    open_page: OpenPage, installation: Installation, photograph: Photograph
):
    page = open_page(java_script_enabled=False)

    create(page, "Plain", f"{installation.receiver}/plain", event_types="none.such")

    expect(row(page, "/plain")).to_contain_text("Plain")
    row(page, "/plain").get_by_role("link").click()
    page.get_by_role("button", name="Send test event").click()
    expect(page.locator("#drawer")).to_contain_text("oneprotect.test")
    expect(page.locator("#toasts")).to_contain_text("Test event sent.")
    expect(page.get_by_label("Find in payload")).to_be_hidden()  # nothing is shown that is dead
    photograph(page, "1")
    page.get_by_label("Outcome").select_option("timeout")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("No delivery matches")).to_be_visible()
    for name, words in {
        "Deliveries": "oneprotect.test",
        "Events": "oneprotect.test",
        "Audit": "Sent a test event to the destination",
        "Settings": "Demo tenant admin",
    }.items():
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()
        expect(page.locator("main")).to_contain_text(words)
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.goto("/integrations")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_an_open_page_whose_session_ended_leads_to_the_sign_in(
    open_page: OpenPage, installation: Installation
):
    page = open_page()
    page.goto("/deliveries?state=failed")
    page.context.clear_cookies()

    installation.publish()

    page.wait_for_url(re.compile(r"/login\?next=%2Fdeliveries%3Fstate%3Dfailed$"))

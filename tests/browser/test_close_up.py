"""What is looked at closely: an address while it is typed, a secret, a payload, a chart."""

import re
from collections.abc import Callable

from playwright.sync_api import Dialog, Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.installation import Installation
from tests.browser.test_walkthrough import PRIVATE, create, row

Photograph = Callable[[Page, str], None]


def test_an_address_is_judged_while_it_is_typed(
    open_page: OpenPage, installation: Installation, photograph: Photograph
):
    page = open_page()
    field = page.locator("#create").get_by_label("Endpoint URL (https)")
    field.press_sequentially("http://169.254.169.254/la")

    expect(page.locator("#e-endpoint_url")).to_have_text(PRIVATE)
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    page.keyboard.type("test")
    expect(field).to_have_value("http://169.254.169.254/latest")
    photograph(page, "1")

    field.fill(f"{installation.receiver}/typed")
    expect(page.locator("#ok-endpoint_url")).to_have_text("This address may be used.")
    expect(page.locator("#e-endpoint_url")).to_have_count(0)
    expect(field).not_to_have_attribute("aria-invalid", "true")
    photograph(page, "2")


def test_a_secret_that_was_not_copied_is_asked_for_before_it_is_gone(
    open_page: OpenPage, installation: Installation
):
    page = open_page(permissions=["clipboard-write", "clipboard-read"])
    asked: list[str] = []

    def note(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", note)
    create(page, "Not kept", f"{installation.receiver}/lost", event_types="none.such")
    page.reload()
    assert asked == ["beforeunload"]

    create(page, "Copied", f"{installation.receiver}/copied", event_types="none.such")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    kept = page.locator("#secret-text").inner_text()
    assert page.evaluate("navigator.clipboard.readText()") == kept
    page.reload()
    assert asked == ["beforeunload"]


def test_a_test_event_that_fails_says_how_beside_its_button(
    open_page: OpenPage, installation: Installation, photograph: Photograph
):
    page = open_page()
    create(page, "Tried", f"{installation.failing}/tried", event_types="none.such")
    page.evaluate("window.stayed = true")

    page.locator("#create").get_by_role("button", name="Send test event").click()

    expect(page.locator("#trial")).to_contain_text(re.compile(r"Attempt 2 of 10"))
    expect(page.locator("#trial")).to_contain_text("HTTP 503")
    assert page.evaluate("window.stayed")
    photograph(page, "1")


def test_a_payload_is_searched_and_copied(
    open_page: OpenPage, installation: Installation, photograph: Photograph
):
    page = open_page(permissions=["clipboard-write", "clipboard-read"])
    create(page, "Searched", f"{installation.receiver}/searched", event_types="searched.event")
    installation.publish("searched.event")
    expect(row(page, "/searched").locator(".pill")).to_have_text("delivered")
    page.goto(row(page, "/searched").get_by_role("link").get_attribute("href") or "")
    page.get_by_role("link", name="searched.event").click()

    find = page.get_by_label("Find in payload")
    find.fill('"')
    expect(page.locator("#payload-tools output")).to_have_text(re.compile(r"^1 of \d\d$"))
    find.press("Enter")
    expect(page.locator("#payload-tools output")).to_have_text(re.compile(r"^2 of \d\d$"))
    assert page.evaluate("CSS.highlights.get('found').size") >= 10
    assert page.evaluate("CSS.highlights.get('json-key').size") >= 5
    photograph(page, "1")
    find.fill("nowhere in it")
    expect(page.locator("#payload-tools output")).to_have_text("none")
    page.locator("#payload-tools").get_by_role("button", name="Copy").click()
    expect(page.locator("#payload-tools").get_by_role("button", name="Copied")).to_be_visible()
    assert '"type": "searched.event"' in page.evaluate("navigator.clipboard.readText()")


def test_a_bar_tells_its_numbers_and_leads_to_its_deliveries(
    open_page: OpenPage, installation: Installation, photograph: Photograph
):
    page = open_page()
    create(page, "Drawn", f"{installation.receiver}/drawn", event_types="drawn.event")
    installation.publish("drawn.event")
    expect(row(page, "/drawn").locator(".pill")).to_have_text("delivered")
    page.goto(row(page, "/drawn").get_by_role("link").get_attribute("href") or "")
    bar = page.locator(".chart [data-go] .band").first

    bar.hover(force=True)
    expect(page.locator(".tip")).to_contain_text("1 delivered")
    photograph(page, "1")
    bar.click(force=True)

    page.wait_for_url(re.compile(r"after=\d{4}-\d\d-\d\dT\d\d%3A\d\d&before="))
    expect(page.get_by_role("link", name="drawn.event")).to_be_visible()
    page.go_back()
    page.wait_for_url(re.compile(r"/integrations/dst_\w+$"))
    page.get_by_role("combobox", name="Outcome").select_option("timeout")
    expect(page.get_by_text("No delivery matches")).to_be_visible()
    assert "outcome=timeout" in page.url

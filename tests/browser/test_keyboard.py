"""Without a mouse: the whole way from the door to a delivery, the palette, the sheet, the keys."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import DESKTOP, OpenPage
from tests.browser.installation import Installation
from tests.browser.test_walkthrough import create

Photograph = Callable[[Page, str], None]


def tab_to(page: Page, words: str, *, most: int = 40) -> None:
    """Press Tab until what has the focus is called so."""
    for _ in range(most):
        page.keyboard.press("Tab")
        name = page.evaluate(
            "(document.activeElement.labels?.[0] ?? document.activeElement).innerText"
        )
        if (name or "").strip().startswith(words):
            return
    raise AssertionError(f"no Tab leads to {words!r}")


def test_from_the_door_to_a_delivery_without_a_mouse(
    open_page: OpenPage, installation: Installation, photograph: Photograph
):
    page = open_page(permissions=["clipboard-write", "clipboard-read"])
    page.keyboard.press("c")
    expect(page.locator("#create").get_by_label("Name")).to_be_focused()
    page.keyboard.type("By hand alone")
    tab_to(page, "Endpoint URL")
    page.keyboard.type(f"{installation.receiver}/by-hand")
    tab_to(page, "Event types")
    page.keyboard.type("none.such")
    page.keyboard.press("Enter")

    expect(page.get_by_text("Destination created.")).to_be_visible()
    tab_to(page, "Copy")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    tab_to(page, "Send test event")
    page.keyboard.press("Enter")
    expect(page.locator("#trial")).to_contain_text("Delivered with attempt 1")
    expect(page.locator("#trial")).to_contain_text("HTTP 200")
    photograph(page, "1")
    tab_to(page, "See the whole exchange")
    page.keyboard.press("Enter")

    expect(page.locator("#drawer")).to_contain_text("This is a test event.")
    expect(page.get_by_role("heading", level=1)).to_contain_text("By hand alone")
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_have_count(0)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("#drawer-title")).to_be_focused()
    photograph(page, "2")


def test_the_palette_finds_pages_places_and_actions(
    open_page: OpenPage, installation: Installation, photograph: Photograph
):
    page = open_page()
    create(page, "Sought place", f"{installation.receiver}/sought", event_types="none.such")
    page.get_by_role("button", name="Copy").click()
    page.keyboard.press("Control+k")
    expect(page.locator("#palette-seek")).to_be_focused()
    expect(page.locator("#palette-list .chosen")).to_have_text(re.compile("Integrations"))
    page.keyboard.press("ArrowDown")
    expect(page.locator("#palette-list .chosen")).to_have_text(re.compile("Deliveries"))
    photograph(page, "1")

    page.keyboard.type("sought test")
    expect(page.locator("#palette-list li:visible")).to_have_count(1)
    page.keyboard.press("Enter")

    expect(page.locator("#toasts")).to_contain_text("Test event sent.")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Sought place")
    page.keyboard.press("Control+k")
    page.keyboard.type("nothing of the kind")
    expect(page.locator("#palette-said")).to_have_text("Nothing matches")
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()


def test_the_palette_of_an_operator_offers_no_change(open_page: OpenPage):
    page = open_page("operator@acme.example")
    page.keyboard.press("Control+k")
    expect(page.locator("#palette-list .chosen")).to_be_visible()

    texts = page.locator("#palette-list").inner_text()

    assert "Audit" not in texts
    assert "Create destination" not in texts
    assert "Send test event" not in texts


def test_keys_lead_to_pages_and_can_be_switched_off(open_page: OpenPage, photograph: Photograph):
    page = open_page(viewport=DESKTOP)
    page.keyboard.press("g")
    page.keyboard.press("d")
    page.wait_for_url("**/deliveries")
    page.keyboard.press("/")
    expect(page.locator(".filters select").first).to_be_focused()
    page.locator("h1").click()

    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    photograph(page, "1")
    page.get_by_label("Single keys work on this device").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("i")
    page.keyboard.press("?")

    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    assert page.url.endswith("/deliveries")

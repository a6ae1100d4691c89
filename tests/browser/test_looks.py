"""Every page, light and dark: nothing that axe objects to, and no sideways scroll on a phone."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import DESKTOP, PHONE, OpenPage
from tests.browser.installation import Installation
from tests.browser.test_walkthrough import create, row

PAGES = ("/integrations", "/deliveries", "/events", "/audit?verify=1", "/settings", "/events/none")


@pytest.fixture(scope="module")
def worn(installation: Installation, chromium: Browser) -> str:
    """Return the path of a destination that has seen success and failure."""
    context = chromium.new_context(base_url=installation.portal)
    page = context.new_page()
    page.goto("/login")
    page.get_by_label("Email").fill("admin@acme.example")
    page.get_by_label("Password").fill("oneprotect-local")
    page.get_by_role("button", name="Sign in").click()
    create(page, "Worn", f"{installation.failing}/worn", event_types="worn.event")
    installation.publish("worn.event")
    expect(row(page, "/worn").locator(".pill")).to_have_text("retrying")
    row(page, "/worn").get_by_role("link").click()
    page.get_by_role("link", name="worn.event").click()
    expect(page.locator("#drawer")).to_be_visible()
    path = page.url.removeprefix(installation.portal)
    context.close()
    return path


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible_and_fits(
    chromium: Browser,
    installation: Installation,
    open_page: OpenPage,
    photograph: Callable[[Page, str], None],
    worn: str,
    scheme: str,
    size: dict[str, int],
):
    signed_in = open_page(color_scheme=scheme, viewport=size)
    # A page of its own: axe adds a style element, which the policy refuses, aloud.
    page = signed_in.context.new_page()
    found: dict[str, list[str]] = {}
    for path in (*PAGES, worn, f"{worn.partition('?')[0]}/edit"):
        page.goto(path)
        page.wait_for_load_state("load")
        width = page.evaluate("document.documentElement.scrollWidth")
        problems = [f"{width} px wide"] if width > size["width"] else []
        problems += [
            f"{one['id']}: {one['nodes'][0]['html']}"
            for one in Axe().run(page).response["violations"]
        ]
        if problems:
            found[path] = problems
        step = path.strip("/").partition("?")[0].replace("/", "-")[:24]
        photograph(page, f"{scheme}-{size['width']}-{step}")

    assert found == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_door_is_accessible(chromium: Browser, installation: Installation, scheme: str):
    context = chromium.new_context(color_scheme=scheme, base_url=installation.portal)
    page = context.new_page()
    page.goto("/login")
    violations = Axe().run(page).response["violations"]
    context.close()

    assert violations == []


def test_the_chosen_appearance_wins_over_the_systems(open_page: OpenPage):
    page = open_page(color_scheme="light")
    page.goto("/settings")

    page.get_by_role("button", name="Dark").click()

    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 16, 23)"

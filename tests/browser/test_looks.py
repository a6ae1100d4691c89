"""Every page as every role, light and dark, desktop, phone and zoomed: it fits and stays put."""

import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import DESKTOP, PHONE, OpenPage
from tests.browser.installation import Installation
from tests.browser.test_walkthrough import create, row

#: A desktop of 1360 x 860 at 200 %.
ZOOMED = {"width": 680, "height": 430}
COMMON = (
    "/integrations",
    "/deliveries",
    "/events",
    "/events/types",
    "/settings",
    "/guide",
    "/events/none",
)
MORE = {
    "admin": ("/integrations?window=7d", "/audit?verify=1", "{worn}&window=1h", "{place}/edit"),
    "operator": ("/audit",),
    "auditor": ("/audit", "{place}/edit"),
}
SHIFT = """() => new Promise((tell) => {
  let sum = 0;
  new PerformanceObserver((list) => {
    for (const one of list.getEntries()) if (!one.hadRecentInput) sum += one.value;
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => tell(sum), 60);
})"""
#: What people do not notice; 0.1 is what the web calls good.
SHIFT_MAX = 0.02
PRINTED = re.compile(r"Acme Corp · printed by auditor@acme.example \(Auditor\) · \d\d \w+ \d{4}")


@pytest.fixture(scope="module")
def worn(installation: Installation, chromium: Browser) -> str:
    """Return the path of a delivery whose destination has seen success and failure."""
    context = chromium.new_context(base_url=installation.portal)
    page = context.new_page()
    page.goto("/login")
    page.get_by_label("Email").fill("admin@acme.example")
    page.get_by_label("Password").fill("oneprotect-local")
    page.get_by_role("button", name="Sign in").click()
    create(page, "Worn", f"{installation.failing}/worn", event_types="worn.event")
    installation.publish("worn.event")
    expect(row(page, "/worn").locator(".pill")).to_have_text("retrying")
    page.goto(row(page, "/worn").get_by_role("link").get_attribute("href") or "")
    page.get_by_role("link", name="worn.event").click()
    expect(page.locator("#drawer")).to_be_visible()
    path = page.url.removeprefix(installation.portal)
    context.close()
    return path


def paths_of(role: str, worn: str) -> list[str]:
    place = worn.partition("?")[0]
    return [path.format(worn=worn, place=place) for path in (*COMMON, worn, *MORE[role])]


@pytest.mark.parametrize("size", [DESKTOP, PHONE, ZOOMED], ids=["desktop", "phone", "zoomed"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("role", ["admin", "operator", "auditor"])
def test_every_page_fits_and_nothing_jumps(
    open_page: OpenPage,
    photograph: Callable[[Page, str], None],
    worn: str,
    role: str,
    scheme: str,
    size: dict[str, int],
):
    refused = ("status of 403", "status of 404")  # pages that this role may not see
    page = open_page(f"{role}@acme.example", expected=refused, color_scheme=scheme, viewport=size)
    found: dict[str, list[str]] = {}
    for path in paths_of(role, worn):
        page.goto(path)
        width = page.evaluate("document.documentElement.scrollWidth")
        problems = [f"{width} px wide"] if width > size["width"] else []
        shift = page.evaluate(SHIFT)
        problems += [f"shifts by {shift:.3f}"] if shift > SHIFT_MAX else []
        expect(page.locator(".tenant")).to_contain_text("Acme Corp")
        if not page.locator(".tenant p").last.is_visible():
            problems.append("hides the role")
        found |= {path: problems} if problems else {}
        step = re.sub(r"dst_\w+", "destination", path.strip("/").partition("?")[0])
        step = step.replace("/", "-")
        step += "-drawer" if "delivery=" in path else ""
        photograph(page, f"{role}-{scheme}-{size['width']}-{step}")

    assert found == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_objects_to_no_page(open_page: OpenPage, worn: str, scheme: str):
    signed_in = open_page(
        expected=("style-src", "status of 404"), color_scheme=scheme, viewport=DESKTOP
    )
    page = signed_in.context.new_page()
    found = {}
    for path in paths_of("admin", worn):
        page.goto(path)
        page.set_viewport_size(PHONE if path in {worn, "/integrations"} else DESKTOP)
        if objections := objections_to(page):
            found[path] = objections
    page.set_viewport_size(DESKTOP)
    for key, name in (("Control+k", "palette"), ("?", "help")):
        page.goto("/integrations")
        page.keyboard.press(key)
        expect(page.locator(f"#{name}")).to_be_visible()
        if objections := objections_to(page):
            found[name] = objections

    assert found == {}


def objections_to(page: Page) -> list[str]:
    violations = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in violations]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_door_is_accessible(chromium: Browser, installation: Installation, scheme: str):
    context = chromium.new_context(color_scheme=scheme, base_url=installation.portal)
    page = context.new_page()
    page.goto("/login")
    objections = objections_to(page)
    context.close()

    assert objections == []


def test_the_chosen_appearance_wins_over_the_systems(open_page: OpenPage):
    page = open_page(color_scheme="light")
    page.goto("/settings")

    page.get_by_role("button", name="Dark").click()

    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 16, 23)"


def test_who_wants_no_motion_gets_none(open_page: OpenPage, worn: str):
    still, moving = open_page(), open_page(reduced_motion="no-preference")
    style = "getComputedStyle(document.querySelector('#drawer')).animationName"
    for page in (still, moving):
        page.goto(worn)

    assert (still.evaluate(style), moving.evaluate(style)) == ("none", "slide")


def test_the_trail_on_paper_names_tenant_person_and_exact_times(
    open_page: OpenPage, photograph: Callable[[Page, str], None]
):
    page = open_page("auditor@acme.example")
    page.goto("/audit")
    page.emulate_media(media="print")

    expect(page.locator(".printed")).to_contain_text(PRINTED)
    for gone in (".nav", ".filters", "#stream", ".head .buttons"):
        expect(page.locator(gone).first).to_be_hidden()
    when = page.locator("tbody time").first
    content = when.evaluate("(one) => getComputedStyle(one, '::after').content")
    assert content.strip('"') == when.get_attribute("title")
    photograph(page, "1")

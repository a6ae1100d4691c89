"""Live and honest: what one browser changes another shows at once; a web process may die."""

import contextlib
import re
import statistics

import httpx
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.installation import Installation
from tests.browser.test_walkthrough import create, row
from tests.tools.programs import client, eventually, free_port, running

WITHIN_MS = 1_000
#: When so many rows with these words came to stand on the page, by this machine's clock.
WATCH = """([words, count]) => {
  window.seen = 0;
  const main = document.querySelector("main");
  const look = () => {
    const rows = [...main.querySelectorAll("tbody th")];
    if (rows.filter((one) => one.textContent.includes(words)).length < count) return;
    window.seen = Date.now();
    observer.disconnect();
  };
  const observer = new MutationObserver(look);
  observer.observe(main, { subtree: true, childList: true });
}"""
TOKENS = "(inputs) => [...new Set(inputs.map((one) => one.value))]"
#: When the form of a new destination was sent.
SENT = """() => document.addEventListener("htmx:beforeRequest", ({ detail }) => {
  if (detail.requestConfig.path === "/integrations") window.sent = Date.now();
})"""
HELD = """() => [
  document.activeElement.dataset.find, scrollY, document.querySelector("#chart-table").open,
  document.querySelector("#drawer").mark,
  document.querySelector("#payload-tools output").innerText,
  getSelection().toString().slice(0, 8),
  document.querySelectorAll("tbody tr[id^=dlv]").length,
]"""
#: What a browser logs of a server that is away.
AWAY = ("ERR_CONNECTION", "ERR_INCOMPLETE", "ERR_EMPTY", "htmx:sendError")
LIVE = re.compile(r"^\s*Live")


def test_a_change_in_one_browser_shows_in_the_other_within_a_second(
    open_page: OpenPage, installation: Installation
):
    acting, watching = open_page(), open_page("operator@acme.example")
    expect(watching.locator("#stream")).to_have_text(LIVE)
    acting.evaluate(SENT)
    took = []
    for n in range(5):
        name = f"Told at once {n}"
        watching.evaluate(WATCH, [name, 1])
        create(acting, name, f"{installation.receiver}/told/{n}", event_types="none.such")
        took.append(_seen(watching) - acting.evaluate("window.sent"))

    print(f"ms after the form was sent: {took}")
    assert statistics.median(took) <= WITHIN_MS


def test_a_delivery_shows_within_a_second_of_the_publishers_answer(
    open_page: OpenPage, installation: Installation
):
    page = open_page()
    create(page, "Timed", f"{installation.receiver}/timed", event_types="timed.event")
    page.get_by_role("link", name="Deliveries", exact=True).click()
    expect(page.locator("#stream")).to_have_text(LIVE)
    took = []
    for n in range(3):
        page.evaluate(WATCH, ["timed.event", n + 1])
        installation.publish("timed.event")
        done = page.evaluate("Date.now()")
        took.append(_seen(page) - done)

    print(f"ms after the publisher's 202: {took}")
    assert statistics.median(took) <= WITHIN_MS


def _seen(page: Page) -> int:
    """Return when the page saw what it was told to watch for; waiting inside it would need eval."""
    eventually(lambda: page.evaluate("window.seen"))
    return int(page.evaluate("window.seen"))


def test_what_arrives_moves_nothing_that_a_person_holds(
    open_page: OpenPage, installation: Installation
):
    page = open_page()
    create(page, "Held", f"{installation.receiver}/held", event_types="held.event")
    installation.publish("held.event")
    expect(row(page, "/held").locator(".pill")).to_have_text("delivered")
    page.goto(row(page, "/held").get_by_role("link").get_attribute("href") or "")
    page.get_by_role("link", name="held.event").click()
    page.locator("#payload-tools input").fill("high")
    page.evaluate(
        """() => {
          getSelection().selectAllChildren(document.querySelector("#payload"));
          scrollTo(0, 120);
          document.querySelector("#drawer").mark = document.querySelector("tbody tr").mark = 1;
          document.querySelector("#chart-table").open = true;
        }"""
    )
    page.locator("#payload-tools input").focus()
    before = page.evaluate(HELD)

    installation.publish("held.event")
    expect(page.locator("tbody tr[id^=dlv]")).to_have_count(2)

    after = page.evaluate(HELD)
    assert after == [*before[:-1], 2]
    assert before[:5] == ["payload", 120, True, 1, "1 of 1"]


def test_the_forms_that_a_refresh_brought_are_this_browsers_own(
    open_page: OpenPage, installation: Installation
):
    page, other = open_page(), open_page()
    create(page, "Formed", f"{installation.receiver}/formed", event_types="formed.event")
    address = row(page, "/formed").get_by_role("link").get_attribute("href") or ""
    for one in (page, other):  # two of a role, who are given the same bytes
        one.goto(address)
        expect(one.locator("#stream")).to_have_text(LIVE)
    installation.publish("formed.event")
    for one in (page, other):
        expect(one.locator("tbody tr[id^=dlv]")).to_have_count(1)

    tokens = [one.locator("#live [name=_csrf]").evaluate_all(TOKENS) for one in (page, other)]
    assert [1, 1] == [len(found) for found in tokens]
    assert tokens[0] != tokens[1]
    for count, one in enumerate((page, other), 2):
        one.get_by_role("button", name="Send test event").click()
        expect(one.locator("tbody tr[id^=dlv]")).to_have_count(count)


def test_a_web_process_that_dies_and_comes_back_is_told_and_found_again(
    open_page: OpenPage, installation: Installation
):
    port = free_port()  # of a second web process over the same installation
    home = f"http://127.0.0.1:{port}"
    settings = {"PORT": str(port), "EGRESS_ALLOW": installation.receiver.partition("//")[2]}
    with running(installation.folder, "serve", **settings) as web:
        _wait_for(home)
        page = open_page(base_url=home, expected=AWAY)
        create(page, "Survivor", f"{installation.receiver}/survivor", event_types="survivor.event")
        page.evaluate("window.stayed = true")
        expect(page.locator("#stream")).to_have_text(LIVE)
        web.process.kill()
        web.process.wait()

    expect(page.locator("#stream")).to_have_text(re.compile(r"^\s*Reconnecting"))
    installation.publish("survivor.event")
    _becomes_stale(page)

    with running(installation.folder, "serve", **settings):
        _wait_for(home)
        expect(page.locator("#stream")).to_have_text(LIVE, timeout=15_000)
        expect(row(page, "/survivor").locator(".pill")).to_have_text("delivered")
        assert page.evaluate("window.stayed")  # by itself, without a reload
        page.context.close()


def _becomes_stale(page: Page) -> None:
    """Move what the page knows of its freshness into the past: nobody waits for it."""
    page.evaluate("stream.fresh -= 60_000")
    expect(page.locator("#stream")).to_have_text(re.compile(r"^\s*Stale since \d\d:\d\d"))


def _wait_for(home: str) -> None:
    def answers() -> bool:
        with client(home) as web, contextlib.suppress(httpx.TransportError):
            return web.get("/health/live").status_code == 200
        return False

    eventually(answers)

"""A Chromium for each test, a real installation for all; said aloud when there is no Chromium."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    sync_playwright,
)

from app.identity.demo import DEMO_PASSWORD
from tests import summary
from tests.browser.installation import Installation, installed

HERE = Path(__file__).parent
SCREENSHOTS = HERE.parents[1] / ".screenshots"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP = {"width": 1360, "height": 860}
PHONE = {"width": 390, "height": 844}
#: What a browser logs of answers that are meant to be refusals, or of a page it left.
EXPECTED = ("status of 400", "status of 401", "htmx:sendAbort", "htmx:afterRequest")

OpenPage = Callable[..., Page]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if item.path.is_relative_to(HERE)]
    for item in ours:
        item.add_marker(pytest.mark.browser)
    if ours and not CHROMIUM:
        text = f"{len(ours)} browser tests did not run. To add it: apt-get install chromium"
        summary.tell("left out: no Chromium on this machine", text)
        config.hook.pytest_deselected(items=ours)
        items[:] = [item for item in items if item not in ours]


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installed(tmp_path_factory.mktemp("installation")) as installation:
        yield installation


# Playwright runs a loop in this thread: it must end before other files start theirs.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser, installation: Installation) -> Iterator[OpenPage]:
    """Open a page signed in as somebody; at the end console and network log must be clean."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def opened(
        email: str = "admin@acme.example", *, expected: tuple[str, ...] = (), **options: Any
    ) -> Page:
        settings = {
            "base_url": installation.portal,
            "viewport": DESKTOP,
            "reduced_motion": "reduce",
        } | options
        context = chromium.new_context(**settings)
        contexts.append(context)
        watch(context, settings["base_url"], faults, (*EXPECTED, *expected))
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.goto("/login")
        page.get_by_label("Email").fill(email)
        page.get_by_label("Password").fill(DEMO_PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/integrations")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def watch(context: BrowserContext, home: str, faults: list[str], expected: tuple[str, ...]) -> None:
    """Note every error of the console and every request to another host than our own."""

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and not any(text in message.text for text in expected):
            faults.append(f"{message.text} ({message.location.get('url')})")

    def check(request: Request) -> None:
        if not request.url.startswith((f"{home}/", "blob:", "data:")):
            faults.append(f"request to another host: {request.url}")

    context.on("console", note)
    context.on("weberror", lambda fault: faults.append(str(fault.error)))
    context.on("request", check)


@pytest.fixture
def photograph(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keep a picture of a step, to be looked at by people."""
    SCREENSHOTS.mkdir(exist_ok=True)

    def take(page: Page, step: str) -> None:
        name = request.node.originalname.removeprefix("test_")
        # Hiding the caret would leave style attributes behind, which the policy refuses.
        page.screenshot(path=SCREENSHOTS / f"{name}-{step}.png", caret="initial")

    return take

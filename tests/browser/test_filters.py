"""A filter of event types is completed from the catalogue, the second pattern like the first."""

from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.installation import Installation


def test_every_pattern_of_a_filter_is_completed(
    open_page: OpenPage, installation: Installation
) -> None:
    installation.publish("filter.tried")
    page = open_page()
    page.goto("/integrations")
    field = page.locator("#create").get_by_label("Event types")
    offered = page.locator('#known-types option[value$="filter.tried"]')
    expect(offered).to_have_attribute("value", "filter.tried")

    field.fill("alert.* inc")
    expect(offered).to_have_attribute("value", "alert.* filter.tried")
    field.fill("inc")
    expect(offered).to_have_attribute("value", "filter.tried")

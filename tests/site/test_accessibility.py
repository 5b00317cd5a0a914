"""Every page meets WCAG 2.2 AA as far as axe-core can see, in the light, in the dark, and on a phone."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.site.conftest import PAGES, Visit

AXE = Axe()
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def violations(page: Page, **options: Any) -> list[str]:
    """What axe-core finds on a page: rule, element, and what to do."""
    # Of a drawing only its words matter to axe, its alternative text; its thousands of lines would take it minutes.
    found = AXE.run(page, context={"exclude": [["svg *"]]}, options={"resultTypes": ["violations"], **options})
    found = found.response["violations"]
    return [f"{rule['id']}: {node['html'][:200]}: {node['failureSummary']}" for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible(name: str, desk: Visit) -> None:
    assert violations(desk.open(name), runOnly=LEVELS) == []


@pytest.mark.parametrize("name", PAGES)
def test_its_colours_are_readable_in_the_dark(name: str, night: Visit) -> None:
    page = night.open(name)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert violations(page, runOnly=["color-contrast", "link-in-text-block"]) == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_never_scrolls_sideways_on_a_phone(name: str, phone: Visit) -> None:
    page = phone.open(name)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
    assert violations(page, runOnly=["target-size", "scrollable-region-focusable", "meta-viewport"]) == []


def test_axe_sees_what_is_wrong(desk: Visit) -> None:
    page = desk.open("book/notation.html")
    page.evaluate("document.querySelector('main').insertAdjacentHTML('beforeend',"
                  " '<img src=\"\"><p style=\"color: #ccc; background: #fff\">Pale</p>')")  # fmt: skip
    found = violations(page, runOnly=LEVELS)
    assert any(line.startswith("image-alt") for line in found)
    assert any(line.startswith("color-contrast") for line in found)


def test_keys_reach_the_content_and_the_figures(desk: Visit) -> None:
    page = desk.open("book/optim/adam.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent.trim()") == "Skip to main content"
    slider = page.locator(".odyssey-frames-controls input").first
    slider.focus()
    before = slider.get_attribute("aria-valuetext")
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") != before

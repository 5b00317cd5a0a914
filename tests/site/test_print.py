"""A chapter on paper: white, complete, nothing cut off."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.site.conftest import Visit

PAPER = {"width": 672, "height": 1000}  # A4 less its margins, in CSS pixels
PAGES = ["book/index", "book/optim/adam", "book/nn/attention", "book/progress", "book/api"]

# What is wider than the paper, or holds more than it shows. A formula inside the text may be broken by the browser.
CUT = """() => {
  const paper = document.documentElement.clientWidth;
  const wide = [...document.querySelectorAll('.bd-article *')].filter(element => {
    const box = element.getBoundingClientRect();
    return box.width > 0 && box.right > paper + 1 && !element.closest('mjx-assistive-mml, .visually-hidden, svg');
  });
  const kinds = '.bd-article :is(pre, table, figure, div.math, .cell_output, mjx-container[display="true"])';
  const full = [...document.querySelectorAll(kinds)].filter(box => box.scrollWidth > box.clientWidth + 2
    && getComputedStyle(box).overflowX !== 'visible');
  return [...wide, ...full].map(element => element.outerHTML.slice(0, 120));
}"""
SHOWN = """selector => [...document.querySelectorAll(selector)].filter(element => element.checkVisibility())
  .map(element => element.outerHTML.slice(0, 120))"""
# The boxes of the progress page stay: they can be ticked with a pencil.
SCREEN_ONLY = (".bd-sidebar-primary, .bd-sidebar-secondary, .bd-header-article, .prev-next-footer, .odyssey-live, "
               ".bd-article :is(button, .headerlink, .odyssey-frames-controls, .odyssey-done), "
               ".bd-article input:not(li input)")  # fmt: skip


@pytest.fixture(scope="module")
def paper(browser: Browser, address: str) -> Iterator[Visit]:
    """A reader who reads in the dark."""
    with browser.new_context(viewport=PAPER, color_scheme="dark", reduced_motion="reduce") as context:
        context.add_init_script("localStorage.setItem('mode', 'dark')")
        yield Visit(context, address)


def on_paper(paper: Visit, name: str) -> Page:
    page = paper.open(f"{name}.html")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    return page


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_cut_off_and_nothing_is_for_the_screen(name: str, paper: Visit) -> None:
    page = on_paper(paper, name)
    assert page.evaluate(CUT) == []
    assert page.evaluate(SHOWN, SCREEN_ONLY) == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="null")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_folded_solutions_are_open_on_paper(paper: Visit) -> None:
    page = on_paper(paper, "book/optim/adam")
    solutions = page.locator("div.solution")
    assert solutions.count() == 3
    for solution in solutions.all():
        cell = solution.locator(".cell").first
        assert cell.is_visible() and cell.evaluate("cell => cell.getBoundingClientRect().height") > 30


def test_the_check_sees_what_is_cut_off(paper: Visit) -> None:
    page = on_paper(paper, "book/notation")
    wide = '<span style="display: inline-block; width: 900px">x</span>'
    page.locator(".bd-article p").first.evaluate("(place, wide) => { place.innerHTML = wide; }", wide)
    assert any("width: 900px" in line for line in page.evaluate(CUT))


def test_a_printed_chapter(paper: Visit, tmp_path: Path) -> None:
    page = paper.open("book/optim/adam.html")
    page.pdf(path=tmp_path / "adam.pdf", format="A4")
    content = (tmp_path / "adam.pdf").read_bytes()
    assert 15 <= len(re.findall(rb"/Type /Page\b", content)) <= 40
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed (poppler-utils): the pages were counted, not read")
    run = ["pdftotext", "-layout", str(tmp_path / "adam.pdf"), "-"]
    text = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert text.split()[0] == "Adam"
    for words in ("The problem", "Summary and further reading", "# odyssey/optim/adam/adam.py", "Solution to Exercise"):
        assert words in text, words
    assert "Hide code cell" not in text and "Skip to main content" not in text and r"\varepsilon" not in text

"""The built site loads nothing from elsewhere, raises no error, sets every formula, and works from a folder too."""

import pytest

from tests.site.conftest import PAGES, SITE, Visit

# A page counts its formulas here: those that the text holds, those that MathJax has set, and those it could not read.
FORMULAS = """() => ["span.math, div.math", "mjx-container", "mjx-merror, [data-mjx-error]"]
    .map(kind => document.querySelectorAll(kind).length)"""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_nothing_from_elsewhere(name: str, desk: Visit) -> None:
    desk.elsewhere.clear()
    desk.problems.clear()
    page = desk.open(name)
    in_text, typeset, wrong = page.evaluate(FORMULAS)
    assert desk.elsewhere == [] and desk.problems == []
    assert in_text == typeset and wrong == 0


def test_the_pages_have_formulas(desk: Visit) -> None:
    assert len(PAGES) > 20 and desk.open("book/optim/adam.html").evaluate(FORMULAS)[0] > 100


def test_formulas_have_a_form_for_screen_readers(desk: Visit) -> None:
    page = desk.open("book/optim/adam.html")
    spoken = page.locator("mjx-container mjx-assistive-mml math")
    assert spoken.count() == page.locator("mjx-container").count()


@pytest.mark.parametrize("name", ["book/index.html", "book/optim/adam.html", "book/nn/attention.html"])
def test_a_page_works_from_a_folder(name: str, desk: Visit) -> None:
    desk.elsewhere.clear()
    desk.problems.clear()
    page = desk.open(name, SITE.as_uri())
    in_text, typeset, wrong = page.evaluate(FORMULAS)
    assert in_text == typeset and wrong == 0
    assert desk.elsewhere == [] and desk.problems == []


@pytest.mark.parametrize("base", ["server", "folder"])
def test_search_finds_chapters_without_a_network(base: str, desk: Visit) -> None:
    desk.elsewhere.clear()
    page = desk.open("search.html?q=trust+ratio", None if base == "server" else SITE.as_uri())
    page.wait_for_selector("#search-results ul.search li a")
    found = page.locator("#search-results ul.search li a").all_inner_texts()
    assert any("layer" in text.lower() or "lars" in text.lower() for text in found) and desk.elsewhere == []
    if base == "server":  # a browser does not let a page read other files of a folder
        assert "trust" in page.locator("#search-results ul.search li p.context").first.inner_text().lower()

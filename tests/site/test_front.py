"""The first page, the part pages, the progress page, the search and the descriptions, as a reader meets them."""

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.site.conftest import ROOT, SITE, Visit
from tools.chapter_data import load_book
from tools.imports import toc_files

BOOK = load_book(ROOT)
PARTS = [f"book/{part}/index" for part in BOOK.parts]
EXERCISES = [label for chapter in BOOK.chapters.values() for label in chapter.exercises]
KEY = "ml-odyssey-progress"


@pytest.fixture()
def fresh(browser: Browser, address: str) -> Iterator[Visit]:
    """A browser that has never been here."""
    options = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", "accept_downloads": True}
    with browser.new_context(**options) as context:
        yield Visit(context, address)


# ---- the first page


def test_the_map_leads_to_every_chapter(desk: Visit) -> None:
    page = desk.open("book/index.html")
    links = page.locator("svg.odyssey-map a")
    paths = [link.get_attribute("href") or "" for link in links.all()]
    assert [f"book/{path}".removesuffix(".html") for path in paths] == list(BOOK.chapters)
    assert all((SITE / "book" / path).is_file() for path in paths)
    links.first.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.page") == list(BOOK.chapters)[1]
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{list(BOOK.chapters)[1]}.html")


def test_the_map_lights_what_leads_to_a_chapter(desk: Visit) -> None:
    page = desk.open("book/index.html")
    page.locator('svg.odyssey-map a[data-page="book/optim/adamw"]').focus()
    lit = page.evaluate("[...document.querySelectorAll('.odyssey-map a.odyssey-lit')].map(link => link.dataset.page)")
    assert set(lit) == BOOK.reachable("book/optim/adamw") | {"book/optim/adamw"}
    page.keyboard.press("Shift+Tab")
    assert page.locator('.odyssey-map a.odyssey-lit[data-page="book/optim/adamw"]').count() == 0


def test_a_phone_gets_the_list_in_place_of_the_map(phone: Visit) -> None:
    page = phone.open("book/index.html")
    assert not page.locator("svg.odyssey-map").is_visible()
    items = page.locator("ul.odyssey-chapters > li")
    assert items.count() == len(BOOK.chapters)
    for item, chapter in zip(items.all_inner_texts(), BOOK.chapters.values(), strict=True):
        assert item.startswith(chapter.title) and f"{chapter.minutes} min" in item
        assert all(BOOK.chapters[need].title in item for need in chapter.needs)


def test_a_part_page_stands_before_its_chapters(desk: Visit) -> None:
    for name in PARTS:
        page = desk.open(f"{name}.html")
        rows = page.locator("table.odyssey-table tbody tr")
        chapters = BOOK.of_part(name.split("/")[1])
        assert rows.count() == len(chapters)
        following = page.locator(".prev-next-footer a.right-next")
        assert (following.get_attribute("href") or "").endswith(f"{chapters[0].page.split('/')[2]}.html")
        assert page.locator(".bd-sidebar-primary li.current a").first.inner_text() == "About this part"


# ---- progress


def boxes(page: Page) -> dict[str, bool]:
    """key → ticked, for all boxes of a page."""
    found: dict[str, bool] = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('input.odyssey-tick')].map(i => [i.dataset.key, i.checked]))"
    )
    return found


def test_the_progress_page_lists_exactly_the_exercises_of_the_chapters(fresh: Visit) -> None:
    in_chapters = []
    for chapter in BOOK.chapters:
        text = (SITE / f"{chapter}.html").read_text(encoding="utf-8")
        in_chapters += re.findall(r'<div class="exercise admonition" id="([^"]+)"', text)
    page = fresh.open("book/progress.html")
    listed = [key for key in boxes(page) if key.startswith("ex-")]
    assert listed == in_chapters == EXERCISES and len(listed) > 70
    assert [key for key in boxes(page) if not key.startswith("ex-")] == list(BOOK.chapters)
    for link in page.locator("ul.odyssey-checklist ul a").all():
        path, label = (link.get_attribute("href") or "").split("#")
        assert f'id="{label}"' in (SITE / "book" / path).read_text(encoding="utf-8")
    bars = page.locator("label.odyssey-bar")
    assert bars.count() == 1 + len(BOOK.parts)
    assert f"0 of {len(EXERCISES)} exercises solved, 0 of {len(BOOK.chapters)} chapters read" in bars.first.inner_text()


def test_a_tick_stays_and_is_the_same_on_every_page(fresh: Visit) -> None:
    page = fresh.open("book/progress.html")
    box = page.get_by_role("checkbox", name="Solved: The longest step")
    box.focus()
    page.keyboard.press("Space")
    assert box.is_checked()
    page = fresh.open("book/progress.html")
    assert boxes(page)["ex-adam-bound"] and sum(boxes(page).values()) == 1
    page = fresh.open("book/optim/adam.html")
    assert boxes(page) == {"ex-adam-formula": False, "ex-adam-bound": True, "ex-adam-half-speed": False,
                           "book/optim/adam": False}  # fmt: skip
    page.get_by_role("checkbox", name=re.compile("Done: .*Adam from memory")).check()
    page.get_by_role("checkbox", name="I have read this chapter").check()
    page.get_by_role("checkbox", name=re.compile("Done: .*The longest step")).uncheck()
    page = fresh.open("book/progress.html")
    ticked = [key for key, on in boxes(page).items() if on]
    assert ticked == ["book/optim/adam", "ex-adam-formula"]
    bar = page.locator("label.odyssey-bar", has_text="Optimizers")
    assert "1 of 29 exercises solved, 1 of 8 chapters read" in bar.inner_text()
    assert bar.locator("progress").evaluate("bar => [bar.value, bar.max]") == [2, 37]


def test_two_open_pages_agree(fresh: Visit) -> None:
    page = fresh.open("book/progress.html")
    other = fresh.context.new_page()
    other.goto(f"{fresh.address}/book/optim/adam.html")
    other.locator('input[data-key="ex-adam-bound"]').check()
    page.wait_for_function("document.querySelector('input[data-key=\"ex-adam-bound\"]').checked")


def test_ticks_can_be_saved_cleared_and_loaded(fresh: Visit, tmp_path: Path) -> None:
    page = fresh.open("book/progress.html")
    for label in EXERCISES[:3]:
        page.locator(f'input[data-key="{label}"]').check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save to a file").click()
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    assert saved.name == f"{KEY}.json"
    assert json.loads(saved.read_text()) == {"format": KEY, "done": sorted(EXERCISES[:3])}
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Clear all").click()
    assert sum(boxes(page).values()) == 3
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Clear all").click()
    assert sum(boxes(page).values()) == 0 and "cleared" in page.locator(".odyssey-status").inner_text()
    page.locator(f'input[data-key="{EXERCISES[5]}"]').check()
    page.locator("input[type=file]").set_input_files(saved)
    page.wait_for_function("document.querySelector('.odyssey-status').textContent.includes('Loaded 3')")
    assert {key for key, on in boxes(page).items() if on} == {*EXERCISES[:3], EXERCISES[5]}


@pytest.mark.parametrize("content", ["not JSON", "[1, 2]", '{"done": ["ex-adam-bound"]}', '{"format": "", "done": []}'])
def test_another_file_changes_nothing(content: str, fresh: Visit, tmp_path: Path) -> None:
    page = fresh.open("book/progress.html")
    page.locator('input[data-key="ex-adam-formula"]').check()
    (tmp_path / "other.json").write_text(content)
    page.locator("input[type=file]").set_input_files(tmp_path / "other.json")
    page.wait_for_function("document.querySelector('.odyssey-status').textContent.includes('no progress of this book')")
    assert [key for key, on in boxes(page).items() if on] == ["ex-adam-formula"]


def test_damaged_or_forbidden_storage_does_no_harm(fresh: Visit) -> None:
    page = fresh.open("book/progress.html")
    page.evaluate(f"localStorage.setItem('{KEY}', '{{broken')")
    page = fresh.open("book/progress.html")
    page.locator('input[data-key="ex-adam-formula"]').check()
    assert json.loads(page.evaluate(f"localStorage.getItem('{KEY}')"))["done"] == ["ex-adam-formula"]
    fresh.context.add_init_script("Storage.prototype.setItem = Storage.prototype.getItem = () => { throw new Error() }")
    page = fresh.open("book/progress.html")
    page.locator('input[data-key="ex-adam-formula"]').check()
    assert boxes(page)["ex-adam-formula"] and "keeps nothing" in page.locator(".odyssey-status").inner_text()


def test_progress_works_from_a_folder(fresh: Visit) -> None:
    page = fresh.open("book/progress.html", SITE.as_uri())
    page.locator('input[data-key="ex-adam-formula"]').check()
    page = fresh.open("book/progress.html", SITE.as_uri())
    assert boxes(page)["ex-adam-formula"]
    page = fresh.open("book/optim/adam.html", SITE.as_uri())
    assert boxes(page)["ex-adam-formula"] and "book/optim/adam" in boxes(page)


def test_without_javascript_it_is_a_list(browser: Browser, address: str) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{address}/book/progress.html")
        links = page.locator("ul.odyssey-checklist a")
        assert links.count() == len(EXERCISES) + len(BOOK.chapters)
        assert page.locator("article input").count() == 0
        assert page.get_by_text("this page is a plain list").is_visible()


def test_a_passed_check_ticks_its_exercise(fresh: Visit) -> None:
    """Live code puts outputs where this test puts them; tests/site/test_live_progress.py runs the real one."""
    page = fresh.open("book/optim/adam.html")
    write = """([label, text, folded]) => {
      const exercise = document.getElementById(label);
      let place = exercise.nextElementSibling;
      while (folded ? !place.matches('div.solution') : !place.matches('div.cell')) place = place.nextElementSibling;
      const output = document.createElement('div');
      output.dataset.output = 'true';
      output.textContent = text;
      place.append(output);
    }"""
    page.evaluate(write, ["ex-adam-bound", "Correct: before it has started", False])
    page.wait_for_timeout(100)
    assert sum(boxes(page).values()) == 0
    page.evaluate("document.querySelectorAll('[data-output]').forEach(output => output.remove())")
    page.evaluate("document.documentElement.dataset.live = 'ready'")
    page.evaluate(write, ["ex-adam-formula", "Not yet: Correct: is not how it begins", False])
    page.evaluate(write, ["ex-adam-half-speed", "Correct: says the solution", True])
    page.evaluate(write, ["ex-adam-bound", "something printed\nCorrect: well done", False])
    page.wait_for_function("document.querySelector('input[data-key=\"ex-adam-bound\"]').checked")
    assert [key for key, on in boxes(page).items() if on] == ["ex-adam-bound"]


def test_every_check_can_be_called_on_its_page() -> None:
    """The cell that calls the check stands on the page, between the exercise and its solution."""
    for chapter in BOOK.chapters:
        text = (SITE / f"{chapter}.html").read_text(encoding="utf-8")
        for label in BOOK.chapters[chapter].exercises:
            after = text.split(f'<div class="exercise admonition" id="{label}"')[1].split('<div class="solution')[0]
            code = unescape(re.sub(r"<[^>]+>", "", after))
            assert re.search(r"_ = check_\w+\(", code), label


# ---- search and descriptions


@pytest.mark.parametrize(
    ("query", "first"),
    [("Adam", "Adam derived from"), ("momentum", "For which learning rates"), ("learning rate", None)],
)
def test_search_shows_sentences(query: str, first: str | None, desk: Visit) -> None:
    page = desk.open(f"search.html?q={query.replace(' ', '+')}")
    page.wait_for_function("document.querySelector('#search-results p').textContent.includes('Search finished')")
    page.wait_for_timeout(1500)  # summaries are fetched one by one
    shown = page.locator("#search-results ul.search li p.context").all_inner_texts()
    assert len(shown) > 10
    for text in shown:
        assert 20 <= len(text) < 260 and not re.search(r"\\|import |glue\(|Contents", text), text
    if first:
        assert shown[0].startswith(first)


@pytest.mark.parametrize("page", toc_files(ROOT))
def test_a_description_is_a_sentence(page: str) -> None:
    text = (SITE / f"{page}.html").read_text(encoding="utf-8")
    found = {
        unescape(content)
        for content in re.findall(r'<meta (?:property|name)="(?:og:)?description" content="([^"]*)"', text)
    }
    assert len(found) == 1 and not re.search(r"\\|\$", found.pop())
    if page in BOOK.descriptions:
        assert f'content="{BOOK.descriptions[page]}"' in text


def test_no_motion_where_none_is_wanted(desk: Visit) -> None:
    page = desk.open("404.html")
    moving = page.evaluate("""() => [...document.querySelectorAll('body *')].filter(element => {
      const style = getComputedStyle(element);
      return style.transitionDuration.split(', ').some(time => time !== '0s') && style.transitionProperty !== 'none';
    }).map(element => element.outerHTML.slice(0, 80))""")
    assert moving == []

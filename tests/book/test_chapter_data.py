"""book/chapters.yml agrees with the table of contents, the modules' imports and the chapters' own words."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tools.chapter_data import load_book, problems
from tools.chapter_map import BOX_HEIGHT, BOX_WIDTH, corner, draw, lines_of
from tools.chapters import chapters, exercises, prose
from tools.imports import chapter_imports, chapter_order, toc_files
from tools.source_cells import load

ROOT = Path(__file__).parents[2]
BOOK = load_book(ROOT)
DATA = (ROOT / "book" / "chapters.yml").read_text(encoding="utf-8")
TOC = (ROOT / "_toc.yml").read_text(encoding="utf-8")


def test_the_file_is_right() -> None:
    found = problems(ROOT)
    assert not found, "\n".join(found)
    assert [tuple(page.split("/")[1:]) for page in BOOK.chapters] == list(chapter_order(ROOT))


def test_every_page_has_a_description_of_its_own() -> None:
    pages = [page for page in toc_files(ROOT) if page in BOOK.descriptions]
    assert set(BOOK.chapters) < set(pages) and "book/index" in pages
    assert len({BOOK.descriptions[page] for page in pages}) == len(pages)


@pytest.fixture()
def copy(tmp_path: Path) -> Path:
    """The book under another root: its notebooks and its package are linked, the two files are copied."""
    (tmp_path / "book").mkdir()
    (tmp_path / "odyssey").symlink_to(ROOT / "odyssey")
    for page in toc_files(ROOT):
        for suffix in (".md", ".ipynb"):
            source = ROOT / f"{page}{suffix}"
            if source.is_file():
                (tmp_path / page).parent.mkdir(exist_ok=True)
                (tmp_path / f"{page}{suffix}").symlink_to(source)
    (tmp_path / "book" / "chapters.yml").write_text(DATA, encoding="utf-8")
    (tmp_path / "_toc.yml").write_text(TOC, encoding="utf-8")
    return tmp_path


def entry(name: str) -> str:
    """The text of one chapter's entry."""
    (found,) = re.findall(rf"^  {name}:\n(?:    .*\n)+", DATA, re.MULTILINE)
    return str(found)


# name → (chapter, old text of its entry, new text, a piece of the report)
BREAKS = {
    "a chapter without an entry": ("optim/lars", entry("optim/lars"), "", "optim/lars: has no entry"),
    "an entry without a chapter": ("optim/lars", "  optim/lars:", "  optim/lamb:", "optim/lamb: is not in _toc.yml"),
    "a field left out": ("optim/lars", "    difficulty: 2\n", "", "optim/lars: has able"),
    "a later chapter": ("optim/sgd", "[autograd/tape]", "[optim/adam]", "needs book/optim/adam, which is no earlier"),
    "an import that nothing leads to": ("nn/modules", "[autograd/primitives, optim/adam]", "[optim/adam]",
                                        "its module imports autograd.primitives"),
    "a chapter that the text names": ("nn/modules", "[autograd/primitives, optim/adam]", "[autograd/primitives]",
                                      "says that one needs book/optim/adam"),
    "a need that follows": ("optim/adamw", "[optim/adam]", "[optim/sgd, optim/adam]",
                            "needs book/optim/sgd through book/optim/adam already"),
    "two chapters in one place": ("optim/adamw", "column: 2", "column: 1",
                                  "optim/schedulers: the map draws it where it draws book/optim/adamw"),
    "a difficulty of 4": ("nn/dropout", "difficulty: 2", "difficulty: 4", "nn/dropout: difficulty is 1 to 3"),
    "TeX in a description": ("nn/dropout", "summary: ", r"summary: \varepsilon ", "book/nn/dropout: its description"),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_is_reported(name: str, copy: Path) -> None:
    assert problems(copy) == []
    chapter, old, new, word = BREAKS[name]
    whole = entry(chapter)
    assert old in whole
    (copy / "book" / "chapters.yml").write_text(DATA.replace(whole, whole.replace(old, new)), encoding="utf-8")
    report = "\n".join(problems(copy))
    assert word in report, report


def test_another_caption_is_reported(copy: Path) -> None:
    (copy / "_toc.yml").write_text(TOC.replace("caption: Layers", "caption: Parts"), encoding="utf-8")
    assert "the parts are" in "\n".join(problems(copy))


def test_a_missing_entry_is_named_when_the_book_is_built(copy: Path) -> None:
    (copy / "book" / "chapters.yml").write_text(DATA.replace(entry("optim/lars"), ""), encoding="utf-8")
    with pytest.raises(ValueError, match="no entry for the chapter optim/lars"):
        load_book(copy)


def test_imports_are_followed_through_helpers() -> None:
    found = chapter_imports(ROOT)
    assert found["autograd", "tape"] == set()
    assert ("optim", "lars") in found["optim", "clipping"]  # a norm
    assert ("nn", "attention") in found["train", "language_model"]
    assert ("nn", "convolution") not in found["train", "language_model"]  # it only takes other names of `functional`


def test_every_exercise_is_found() -> None:
    for path in chapters(ROOT):
        labels = re.findall(r"^:label: (ex-\S+)$", prose(load(path)), re.MULTILINE)
        found = exercises(load(path))
        assert list(found) == labels and len(labels) >= 3 and all(found.values())


# ---- the map


def test_the_map_shows_every_chapter_and_every_need() -> None:
    svg = ElementTree.fromstring(draw(BOOK, lambda page: f"../{page}.html"))
    boxes = {link.get("data-page"): link for link in svg.iter("a")}
    assert list(boxes) == list(BOOK.chapters)
    for page, link in boxes.items():
        chapter = BOOK.chapters[page]
        assert link.get("href") == f"../{page}.html"
        assert set((link.get("data-needs") or "").split()) == BOOK.reachable(page)
        shown = " ".join(text.text or "" for text in link.iter("text"))
        assert chapter.title in shown and f"{chapter.minutes} min" in shown
    arrows = {(path.get("data-from"), path.get("data-to")) for path in svg.iter("path") if path.get("data-to")}
    assert arrows == {(need, page) for page, chapter in BOOK.chapters.items() for need in chapter.needs}


def test_the_boxes_stand_apart_and_inside() -> None:
    svg = ElementTree.fromstring(draw(BOOK, str))
    _, _, width, height = map(float, (svg.get("viewBox") or "").split())
    corners = [corner(chapter) for chapter in BOOK.chapters.values()]
    assert all(0 <= x <= width - BOX_WIDTH and 0 <= y <= height - BOX_HEIGHT for x, y in corners)
    for number, (x, y) in enumerate(corners):
        for other_x, other_y in corners[:number]:
            assert abs(x - other_x) >= BOX_WIDTH or abs(y - other_y) >= BOX_HEIGHT
    lines = [line for chapter in BOOK.chapters.values() for line in lines_of(chapter.title)]
    assert max(map(len, lines)) <= 14


# ---- the pages that use it


def test_the_first_page_types_no_result() -> None:
    text = (ROOT / "book" / "index.md").read_text(encoding="utf-8")
    for heading in ("## What you will build", "## The thesis, and how it fared"):
        section = text.split(heading)[1].split("\n## ")[0]
        assert section.count("{stored}`") >= 3
        typed = re.findall(r"\d+", re.sub(r"\{stored\}`[^`]*`", "", section))
        assert [number for number in typed if number != "0"] == []


def test_part_pages_list_their_own_part() -> None:
    for part in BOOK.parts:
        text = (ROOT / "book" / part / "index.md").read_text(encoding="utf-8")
        assert re.findall(r"\{chapter-table\} (\w+)", text) == [part]
        assert 200 <= len(re.sub(r"`[^`]*`", "", text).split()) <= 450
        assert "## If you have only an hour" in text and "## If you come from PyTorch" in text
        for chapter in BOOK.of_part(part):
            assert re.search(rf"[*\[]{re.escape(chapter.title)}\b", text, re.IGNORECASE), chapter.title


def test_stored_numbers_are_those_of_the_chapters() -> None:
    navigation = pytest.importorskip("tools.navigation")
    numbers = navigation.stored_numbers()
    assert len(numbers) > 400 and numbers["key-insight-runs"] == "4,800"

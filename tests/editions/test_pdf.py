"""The PDF has all that the sources have, in its text, its bookmarks and its links."""

import re
import subprocess
from typing import Any

import pytest
from pypdf import PdfReader

from tests.editions import sources
from tests.editions.conftest import edition
from tests.editions.sources import NAMES
from tools.editions.__main__ import complaints

# An A4 page without its running head and its number, in points, so that a sentence goes on over the end of a page.
AREA = ["-x", "0", "-y", "64", "-W", "595", "-H", "710"]
BREAKS = r"\((?:continued from previous page|continues on next page)\)"


@pytest.fixture(scope="module")
def text() -> str:
    run = ["pdftotext", *AREA, str(edition("pdf")), "-"]
    try:
        found = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        pytest.fail("these tests need pdftotext: apt-get install poppler-utils")
    return re.sub(BREAKS, "", found)


@pytest.fixture(scope="module")
def stream(text: str) -> str:
    return sources.letters(text.replace("ﬁ", "fi").replace("ﬂ", "fl"))


@pytest.fixture(scope="module")
def book() -> PdfReader:
    return PdfReader(edition("pdf"))


def tree(outline: list[Any]) -> list[tuple[str, list[Any]]]:
    """The bookmarks as pairs of a title and what stands below it."""
    found: list[tuple[str, list[Any]]] = []
    for entry in outline:
        if isinstance(entry, list):
            found[-1][1].extend(tree(entry))
        else:
            found.append((entry["/Title"], []))
    return found


def test_it_says_what_it_is(book: PdfReader) -> None:
    assert book.metadata is not None
    assert (book.metadata.title, book.metadata.author) == ("ML Odyssey", "The ML Odyssey authors")
    assert book.trailer["/Root"]["/Lang"] == "en-GB"
    assert len(book.pages) > 500


def test_bookmarks_lead_to_all_parts_and_chapters(book: PdfReader) -> None:
    preface, *parts = tree(book.outline)
    assert preface[0] == "Preface"
    assert {re.sub(r"^[IVX]+ ", "", caption): [name for name, _ in chapters] for caption, chapters in parts} \
        == sources.numbered_titles("{} ")  # fmt: skip


def test_a_chapter_has_bookmarks_of_its_sections(book: PdfReader) -> None:
    part = next(chapters for title, chapters in tree(book.outline) if title.endswith(" Optimizers"))
    sections = [title for title, _ in dict(part)["5 Adam"]]
    assert sections[:3] == ["The problem", "The idea", "The derivation"] and sections[-1] == "Solutions"


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_there_with_its_title_and_captions(name: str, stream: str) -> None:
    wanted = [sources.title(name)]
    wanted += [re.split(r"[$`{\\*\[]", caption)[0][:60].rsplit(" ", 1)[0] for caption in sources.captions(name)]
    assert [phrase for phrase in wanted if sources.letters(phrase) not in stream] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_prose_has_the_numbers_of_the_runs(name: str, stream: str) -> None:
    assert [key for key, phrase in sources.glued(name) if phrase not in stream] == []


def test_equations_are_numbered_by_chapter(book: PdfReader, text: str) -> None:
    numbers = [(str(chapter), str(n)) for chapter, name in enumerate(NAMES, start=1)
               for n in range(1, len(sources.equations(name)) + 1)]  # fmt: skip
    assert len(numbers) > 150
    places = " ".join(book.named_destinations)
    assert sorted(re.findall(r"\bequation\.(\d+)\.0\.(\d+)\b", places)) == sorted(numbers)
    assert [number for number in map(".".join, numbers) if f"({number})" not in text] == []


def test_links_inside_lead_somewhere(book: PdfReader) -> None:
    places, inside = set(book.named_destinations), 0
    lost = []
    for page in book.pages:
        for reference in page.get("/Annots", []):
            action = reference.get_object().get("/A", {})
            if action.get("/S") == "/GoTo":
                inside += 1
                if action["/D"] not in places:
                    lost.append(action["/D"])
    assert inside > 600 and lost == []


def test_no_markup_is_left(text: str) -> None:
    assert sources.raw(text) == []


def test_fonts_are_embedded() -> None:
    listed = subprocess.run(["pdffonts", str(edition("pdf"))], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()[2:]]
    assert len(rows) > 5
    assert [row[0] for row in rows if row[-5] != "yes"] == []


def test_raw_markup_is_seen() -> None:
    assert sources.raw("by {eq}`eq-adam-step` and $$ x $$") and not sources.raw("by (5.4) and x")
    assert sources.raw("a **word**", sources.RAW_IN_PROSE)


def test_faults_of_latex_are_seen() -> None:
    log = """LaTeX Warning: Hyper reference `book/a:b' on page 3 undefined on input line 7.
Missing character: There is no ⅓ (U+2153) in font [texgyrepagella-regular.otf]!
Overfull \\hbox (4.2pt too wide) in paragraph at lines 1--2
Overfull \\hbox (42.5pt too wide) in paragraph at lines 3--4
LaTeX Warning: Label `x' multiply defined.
"""
    assert len(complaints(log)) == 4 and complaints("Overfull \\vbox (3.0pt too high) detected") == []
    assert complaints("Overfull \\vbox (30.0pt too high) detected") == ["30.0 points too high detected"]

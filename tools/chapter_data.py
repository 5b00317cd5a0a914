"""What the book says about its chapters outside of them: book/chapters.yml, read and checked.

The landing page, the map, the part pages, the progress page and the descriptions of the pages come from this one file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from tools.chapters import chapters, exercises
from tools.imports import chapter_imports, chapter_order, toc_files
from tools.source_cells import cell_text, load

FILE = "book/chapters.yml"
MIN_SUMMARY, MAX_SUMMARY = 60, 160  # what search engines and cards show of a description
NEEDS = re.compile(r"You need .*?\n\n", re.DOTALL)


@dataclass
class Chapter:
    """One entry of the file; `exercises` come from the notebook, `row` from `needs`."""

    page: str
    title: str
    minutes: int
    difficulty: int
    needs: list[str]
    column: int
    able: str
    summary: str
    row: int = 0
    exercises: dict[str, str] = field(default_factory=dict)

    @property
    def part(self) -> str:
        return self.page.split("/")[1]

    @property
    def module(self) -> str:
        return self.page.replace("book/", "odyssey/").replace("/", ".")


@dataclass
class Book:
    """The chapters by page, `book/autograd/tape`; the titles of the parts; the descriptions of all pages."""

    chapters: dict[str, Chapter]
    parts: dict[str, str]
    descriptions: dict[str, str]

    def of_part(self, part: str) -> list[Chapter]:
        return [chapter for chapter in self.chapters.values() if chapter.part == part]

    def reachable(self, page: str) -> set[str]:
        """All that a chapter needs, and what that needs in turn."""
        found: set[str] = set()
        waiting = list(self.chapters[page].needs)
        while waiting:
            need = waiting.pop()
            if need not in found and need in self.chapters:
                found.add(need)
                waiting += self.chapters[need].needs
        return found


def read(root: Path) -> dict[str, Any]:
    raw: dict[str, Any] = yaml.safe_load((root / FILE).read_text(encoding="utf-8"))
    return raw


def load_book(root: Path) -> Book:
    """The file as it stands, in the order of the table of contents, with the exercises of the notebooks."""
    raw = read(root)
    book = Book({}, {part: entry["title"] for part, entry in raw["parts"].items()}, dict(raw["pages"]))
    for part, entry in raw["parts"].items():
        book.descriptions[f"book/{part}/index"] = entry["summary"]
    notebooks = {path.relative_to(root).with_suffix("").as_posix(): path for path in chapters(root)}
    for page, path in notebooks.items():
        entry = raw["chapters"].get(page.removeprefix("book/"))
        if entry is None:
            raise ValueError(f"{FILE}: there is no entry for the chapter {page.removeprefix('book/')}; add one")
        needs = [f"book/{need}" for need in entry["needs"]]
        chapter = Chapter(page, **{**entry, "needs": needs}, exercises=exercises(load(path)))
        chapter.row = 1 + max((book.chapters[need].row for need in needs if need in book.chapters), default=-1)
        book.chapters[page] = chapter
        book.descriptions[page] = chapter.summary
    return book


def problems(root: Path) -> list[str]:
    """Everything that is wrong with the file."""
    raw, order, pages = read(root), chapter_order(root), toc_files(root)
    names = [f"{part}/{chapter}" for part, chapter in order]
    found = [f"{name}: has no entry" for name in names if name not in raw["chapters"]]
    found += [f"{name}: is not in _toc.yml" for name in raw["chapters"] if name not in names]
    found += [f"{page}: is not in _toc.yml" for page in raw["pages"] if page not in pages]
    wanted = {entry.name for entry in fields(Chapter)} - {"page", "row", "exercises"}
    for name, entry in raw["chapters"].items():
        if set(entry) != wanted:
            found.append(f"{name}: has {', '.join(sorted(entry))}; should have {', '.join(sorted(wanted))}")
    if found:
        return [f"{FILE}: {problem}" for problem in found]
    book, imports = load_book(root), chapter_imports(root)
    toc = (root / "_toc.yml").read_text(encoding="utf-8")
    captions = re.findall(r"caption: (.*)\n\s+chapters:\n\s+- file: book/(\w+)/", toc)
    if {part: title for title, part in captions} != book.parts:
        found.append(f"the parts are {book.parts}, but _toc.yml has {captions}")
    for place, (page, chapter) in enumerate(book.chapters.items()):
        name, earlier, reachable = page.removeprefix("book/"), list(book.chapters)[:place], book.reachable(page)
        found += [f"{name}: needs {need}, which is no earlier chapter" for need in chapter.needs if need not in earlier]
        for need in chapter.needs:
            others = [other for other in chapter.needs if other != need and need in book.reachable(other)]
            found += [f"{name}: needs {need} through {other} already" for other in others]
        for part, other in sorted(imports[chapter.part, page.split("/")[2]]):
            if f"book/{part}/{other}" not in reachable:
                found.append(f"{name}: its module imports {part}.{other}, which its needs do not lead to")
        found += [f"{name}: says that one needs {said}, which its needs do not lead to"
                  for said in needs_said(root, page) if said not in reachable]  # fmt: skip
        same = [other for other in earlier if (book.chapters[other].column, book.chapters[other].row)
                == (chapter.column, chapter.row)]  # fmt: skip
        found += [f"{name}: the map draws it where it draws {other}" for other in same]
        if chapter.difficulty not in (1, 2, 3) or not 30 <= chapter.minutes <= 240:
            found.append(f"{name}: difficulty is 1 to 3 and minutes 30 to 240")
        if not chapter.exercises:
            found.append(f"{name}: no exercise was found in its notebook")
    for page, text in book.descriptions.items():
        if not MIN_SUMMARY <= len(text) <= MAX_SUMMARY or re.search(r"[\\$`{}<>\"]", text):
            found.append(f"{page}: its description has {len(text)} characters, or markup: {text}")
    return [f"{FILE}: {problem}" for problem in found]


def needs_said(root: Path, page: str) -> list[str]:
    """The chapters that a chapter links to in its sentence *You need …*."""
    first = "\n\n".join(
        cell_text(cell) for cell in load(root / f"{page}.ipynb")["cells"][:4] if cell["cell_type"] == "markdown"
    )
    sentence = NEEDS.search(first + "\n\n")
    links = re.findall(r"\{doc\}`(?:[^`<]*<)?([^`>]+)>?`", sentence.group()) if sentence else []
    folder = Path(page).parent
    return [(folder.parent / link[3:] if link.startswith("../") else folder / link).as_posix() for link in links]

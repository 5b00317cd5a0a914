"""The map of the chapters: an SVG with a box for each chapter, and an arrow from what it needs."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from tools.chapter_data import Book, Chapter

DIFFICULTY = {1: "gentle", 2: "steady", 3: "steep"}

# Pixels on a page of full width. A box stands in the middle of its cell.
CELL_WIDTH, CELL_HEIGHT = 125, 86
BOX_WIDTH, BOX_HEIGHT = 111, 56
TOP, LEFT = 26, 0
SPREAD = 26  # between the tips of arrows that end at one box
TIP = 5
LINE = 14  # characters of a title that fit into a box


def corner(chapter: Chapter) -> tuple[float, float]:
    """The upper left corner of a chapter's box."""
    x = LEFT + chapter.column * CELL_WIDTH + (CELL_WIDTH - BOX_WIDTH) / 2
    return x, TOP + chapter.row * CELL_HEIGHT


def lines_of(title: str) -> list[str]:
    """A title in one line or two."""
    if len(title) <= LINE:
        return [title]
    words = title.split(" ")
    cut = min(range(1, len(words)), key=lambda i: max(len(" ".join(words[:i])), len(" ".join(words[i:]))))
    return [" ".join(words[:cut]), " ".join(words[cut:])]


def arrow(book: Book, start: Chapter, end: Chapter) -> str:
    """A line from one box to the upper edge of a later one: down first, across in the gap above the row of its end."""
    (x1, y1), (x2, y2) = corner(start), corner(end)
    arriving = sorted(end.needs, key=lambda need: book.chapters[need].column)
    x2 += BOX_WIDTH / 2 + SPREAD * (arriving.index(start.page) - (len(arriving) - 1) / 2)
    y2 -= TIP
    turn = y2 + TIP - CELL_HEIGHT + BOX_HEIGHT
    between = [other for other in book.chapters.values()
               if other.column == start.column and start.row < other.row < end.row]  # fmt: skip
    if between:  # they are in the way, so it leaves at the side and runs down between the columns
        side = x1 + BOX_WIDTH + (CELL_WIDTH - BOX_WIDTH) / 2
        path = f"M{x1 + BOX_WIDTH:g} {y1 + BOX_HEIGHT / 2:g}H{side - 4:g}q4 0 4 4V{turn:g}"
        x1 = side
    else:
        path = f"M{x1 + BOX_WIDTH / 2:g} {y1 + BOX_HEIGHT:g}V{turn:g}"
        x1 += BOX_WIDTH / 2
    middle = (turn + y2) / 2
    return f"{path}C{x1:g} {middle:g} {x2:g} {middle:g} {x2:g} {y2:g}"


def draw(book: Book, address: Callable[[str], str]) -> str:
    """The SVG; `address` gives the link to a page."""
    chapters = list(book.chapters.values())
    width = LEFT + CELL_WIDTH * (1 + max(chapter.column for chapter in chapters))
    height = TOP + CELL_HEIGHT * (1 + max(chapter.row for chapter in chapters))
    out = [
        f'<svg class="odyssey-map" viewBox="0 0 {width} {height}" role="group" '
        'aria-label="Map of the chapters; the list below says the same in words">',
        '<defs><marker id="odyssey-tip" viewBox="0 0 8 8" refX="2" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>',
    ]
    for chapter in chapters:
        for need in chapter.needs:
            ends = f'data-from="{need}" data-to="{chapter.page}"'
            out.append(f'<path class="odyssey-arrow" {ends} marker-end="url(#odyssey-tip)" '
                       f'd="{arrow(book, book.chapters[need], chapter)}"/>')  # fmt: skip
    for part, title in book.parts.items():
        x, y = corner(min(book.of_part(part), key=lambda chapter: (chapter.row, chapter.column)))
        out.append(f'<text class="odyssey-map-part" x="{x:g}" y="{y - 9:g}">{escape(title)}</text>')
    for chapter in chapters:
        out.append(box(book, chapter, address(chapter.page)))
    return "\n".join([*out, "</svg>"])


def box(book: Book, chapter: Chapter, href: str) -> str:
    """One chapter: a link round a rectangle, its title, its time and its difficulty."""
    x, y = corner(chapter)
    facts = f"{chapter.minutes} min · {DIFFICULTY[chapter.difficulty]}"
    all_needs = " ".join(sorted(book.reachable(chapter.page)))
    lines, size = lines_of(chapter.title), f'height="{BOX_HEIGHT}"'
    step = 15
    first = y + BOX_HEIGHT / 2 - step * len(lines) / 2 + 3
    texts = [
        f'<text class="odyssey-map-title" x="{x + 12:g}" y="{first + step * i:g}">{escape(line)}</text>'
        for i, line in enumerate(lines)
    ]
    texts.append(f'<text class="odyssey-map-facts" x="{x + 12:g}" y="{first + step * len(lines):g}">{facts}</text>')
    return (
        f'<a href="{escape(href)}" class="odyssey-chapter odyssey-{chapter.part}" data-page="{chapter.page}" '
        f'data-needs="{all_needs}" aria-label="{escape(chapter.title)}, {chapter.minutes} minutes, '
        f'{DIFFICULTY[chapter.difficulty]}"><rect x="{x:g}" y="{y:g}" width="{BOX_WIDTH}" {size} rx="6"/>'
        f'<rect class="odyssey-edge" x="{x:g}" y="{y:g}" width="5" {size} rx="2"/>{"".join(texts)}</a>'
    )

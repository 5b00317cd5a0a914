"""Sessions on the book's Markdown pages are run, like every cell of a chapter; what the build adds to the pages."""

import doctest
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tools.website import keep_live_code

PAGES = sorted((Path(__file__).parents[2] / "book").glob("*.md"))
SESSIONS = [page for page in PAGES if ">>> " in page.read_text(encoding="utf-8")]


def test_there_is_a_session() -> None:
    assert "index.md" in [page.name for page in SESSIONS]


@pytest.mark.parametrize("page", SESSIONS, ids=lambda page: page.name)
def test_session(page: Path) -> None:
    failed, tried = doctest.testfile(str(page), module_relative=False)
    assert tried > 0
    assert failed == 0


def pictures_without_words(text: str) -> list[str]:
    """The pictures of a Markdown page that have no alt text."""
    silent = re.findall(r"!\[\s*\]\(([^)]*)\)", text)
    directive = r"^`{3,}\{(?:figure|image)\}\s*(\S+)\n((?::[^\n]*\n)*)"
    for target, options in re.findall(directive, text, flags=re.MULTILINE):
        if not re.search(r"^:alt:\s*\S", options, flags=re.MULTILINE):
            silent.append(target)
    return silent


def test_every_picture_of_a_page_has_alt_text() -> None:
    texts = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
    assert "{figure}" in texts["index.md"]
    assert {name: pictures_without_words(text) for name, text in texts.items()} == {name: [] for name in texts}


def test_a_picture_without_alt_text_is_found() -> None:
    page = "```{figure} a.png\n:name: fig-a\n```\n\n![](b.png)\n\n```{image} c.png\n:alt: words\n```\n"
    assert pictures_without_words(page) == ["b.png", "a.png"]


def test_a_new_build_of_the_book_keeps_live_code(tmp_path: Path) -> None:
    app: Any = SimpleNamespace(outdir=tmp_path, builder=SimpleNamespace(format="html"))
    shown = tmp_path / "_static" / "live.js"
    shown.parent.mkdir()
    shown.write_text("placeholder")
    keep_live_code(app, None)
    assert shown.read_text() == "placeholder"  # no browser edition was built
    (tmp_path / "lite").mkdir()
    (tmp_path / "lite" / "live.js").write_text("live")
    keep_live_code(app, None)
    assert shown.read_text() == "live"

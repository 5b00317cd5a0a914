"""Sessions on the book's Markdown pages are run, like every cell of a chapter."""

import doctest
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "book").glob("*.md"))
SESSIONS = [page for page in PAGES if ">>> " in page.read_text(encoding="utf-8")]


def test_there_is_a_session() -> None:
    assert "index.md" in [page.name for page in SESSIONS]


@pytest.mark.parametrize("page", SESSIONS, ids=lambda page: page.name)
def test_session(page: Path) -> None:
    failed, tried = doctest.testfile(str(page), module_relative=False)
    assert tried > 0
    assert failed == 0

"""Every chapter is complete: sections, exercises, stored outputs, words for every picture."""

from pathlib import Path

import pytest

from tools.chapters import chapter_problems, chapters, toc_problems
from tools.imports import chapter_order

ROOT = Path(__file__).parents[2]
CHAPTERS = chapters(ROOT)


def test_every_page_of_the_table_of_contents_exists() -> None:
    """So the tests below cannot pass because their chapters are missing."""
    problems = toc_problems(ROOT)
    assert not problems, "\n".join(problems)
    assert len(CHAPTERS) == len(chapter_order(ROOT))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_is_complete(path: Path) -> None:
    problems = chapter_problems(ROOT, path)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_module_and_tests_share_a_name(path: Path) -> None:
    part, chapter = path.parent.name, path.stem
    module = ROOT / "odyssey" / part / chapter
    assert module.with_suffix(".py").is_file() or (module / "__init__.py").is_file(), f"no module for {part}/{chapter}"
    assert (ROOT / "tests" / part / f"test_{chapter}.py").is_file(), f"no tests/{part}/test_{chapter}.py"

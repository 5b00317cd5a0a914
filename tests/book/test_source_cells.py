"""The chapters show the package's own text, and together they show all of its public definitions."""

from pathlib import Path

from tools.source_cells import drift, uncovered

ROOT = Path(__file__).parents[2]


def test_source_cells_equal_the_package() -> None:
    problems = drift(ROOT)
    assert not problems, "\n\n".join(["source cells differ from the package (to mend: make sync)", *problems])


def test_every_public_definition_stands_in_a_chapter() -> None:
    problems = uncovered(ROOT)
    assert not problems, "\n".join(["definitions that no chapter shows:", *problems])

"""Book order = build order = import order; and no file of the package is too long to read."""

from pathlib import Path

from tools.imports import chapter_order, import_problems, long_files

ROOT = Path(__file__).parents[2]


def test_order_comes_from_the_table_of_contents() -> None:
    order = chapter_order(ROOT)
    assert ("autograd", "tape") in order
    assert list(order.values()) == sorted(order.values())


def test_modules_import_only_what_comes_before_them() -> None:
    problems = import_problems(ROOT)
    assert not problems, "\n".join(problems)


def test_no_file_is_too_long() -> None:
    problems = long_files(ROOT)
    assert not problems, "\n".join(problems)

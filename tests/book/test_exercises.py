"""Every exercise from *Optimizers* on: its solution passes, its stub fails with a hint, its check is used."""

import re

import pytest

from tests.exercises import CHAPTERS, checks_of, labels_of, run, stub_and_solution

EXERCISES = [(chapter, label) for chapter in CHAPTERS for label in labels_of(chapter)]


@pytest.mark.parametrize(("chapter", "label"), EXERCISES)
def test_the_solution_passes(chapter: str, label: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, solution = stub_and_solution(chapter, label)
    run(chapter, *solution)
    assert capsys.readouterr().out.startswith("Correct: ")


@pytest.mark.parametrize(("chapter", "label"), EXERCISES)
def test_the_stub_fails_with_a_hint(chapter: str, label: str, capsys: pytest.CaptureFixture[str]) -> None:
    stub, _ = stub_and_solution(chapter, label)
    run(chapter, stub)
    out = capsys.readouterr().out
    assert out.startswith("Not yet: ") and "your code raised NameError" not in out


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_check_belongs_to_one_exercise(chapter: str) -> None:
    called = []
    for label in labels_of(chapter):
        stub, solution = stub_and_solution(chapter, label)
        (name,) = re.findall(r"^_ = (check_\w+)\(", stub, re.MULTILINE)
        assert f"_ = {name}(" in "\n".join(solution)
        called.append(name)
    assert len(called) >= 3 and sorted(called) == checks_of(chapter)

"""In live code, a check that passes ticks its exercise, and one that fails does not."""

from tests.site import test_browser_edition as browser_edition
from tests.site.conftest import ROOT, Visit
from tools.chapters import exercise_cells
from tools.source_cells import load

fresh = browser_edition.fresh  # its fixture: a new reader
TICKED = "[...document.querySelectorAll('input.odyssey-tick:checked')].map(box => box.dataset.key)"


def test_a_passed_check_ticks_its_exercise(fresh: Visit) -> None:
    stub, solution = exercise_cells(load(ROOT / "book" / "optim" / "clipping.ipynb"), "ex-clipping-norm")
    page = fresh.open("book/optim/clipping.html")
    page.click(".odyssey-live-start")
    page.wait_for_function("document.documentElement.dataset.live")
    assert page.evaluate("document.documentElement.dataset.live") == "ready"
    browser_edition.run_cell(page, "plt.style.use")  # the imports
    begins = "import check_clip\n"
    assert browser_edition.run_cell(page, begins).startswith("Not yet: ")
    assert page.evaluate(TICKED) == []
    wrong, right = stub.split("\n\n\n", 1)[1], solution[0]
    assert browser_edition.run_cell(page, begins, wrong, right).startswith("Correct: ")
    page.wait_for_function(f"{TICKED}.length === 1")
    page = fresh.open("book/progress.html")
    assert page.evaluate(TICKED) == ["ex-clipping-norm"]

"""Every chapter runs in the browser, in JupyterLite and on its own page, and prints the numbers of the book."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.site.conftest import ROOT, SITE, Visit
from tools.chapters import chapters, tags
from tools.source_cells import cell_text, load

# The last chapters take longest, so they go first.
CHAPTERS = [path.relative_to(ROOT).with_suffix("").as_posix() for path in reversed(chapters(ROOT))]
PATIENCE = 2_400_000  # milliseconds: no BLAS, no threads, and maybe a slow machine

IDLE = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
RUN_ALL = """async () => {
  const panel = window.jupyterapp.shell.currentWidget;
  await panel.sessionContext.ready;
  await window.jupyterapp.commands.execute("notebook:run-all-cells");
  return panel.content.widgets.map(widget => widget.model).filter(model => model.type === "code")
    .map(model => ({ count: model.executionCount, outputs: model.outputs.toJSON() }));
}"""


@pytest.fixture()
def fresh(browser: Browser, address: str, edition: None) -> Any:
    """A browser context of its own: nothing stored, and no worker left over."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        published = json.loads((SITE / "lite" / "jupyter-lite.json").read_text(encoding="utf-8"))
        kernel = published["jupyter-config-data"]["litePluginSettings"]["@jupyterlite/pyodide-kernel-extension:kernel"]
        seen = Visit(
            context, address, also=() if kernel["pyodideUrl"].startswith(".") else ("https://cdn.jsdelivr.net/",)
        )
        seen.page.set_default_timeout(PATIENCE)
        yield seen


def printed(outputs: list[dict[str, Any]]) -> str:
    """The text of a cell's outputs. What goes to stderr, a note on a font cache say, is left out."""
    text = ""
    for output in outputs:
        if output["output_type"] == "stream" and output.get("name") != "stderr":
            text += "".join(output["text"])
        for kind, content in sorted(output.get("data", {}).items()):
            if kind.endswith("text/plain"):
                text += "\n" + "".join(content)
    return re.sub(r"\s+", " ", text).strip()


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_runs_in_jupyterlite_and_prints_the_books_numbers(chapter: str, fresh: Visit) -> None:
    page = fresh.page
    page.goto(f"{fresh.address}/lite/notebooks/index.html?path={chapter}.ipynb")
    page.wait_for_function(IDLE)
    cells = page.evaluate(RUN_ALL)
    errors = [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]
    assert [f"{error['ename']}: {error['evalue']}" for error in errors] == []
    stored = [cell for cell in load(ROOT / f"{chapter}.ipynb")["cells"] if cell["cell_type"] == "code"]
    stored = [cell for cell in stored if "install" not in tags(cell)]
    assert len(cells) == len(stored) > 20 and all(cell["count"] for cell in cells)
    different = [
        f"{cell_text(book)[:60]!r}: {printed(cell['outputs'])[:300]!r}, the book has {printed(book['outputs'])[:300]!r}"
        for cell, book in zip(cells, stored, strict=True)
        if "nbval-ignore-output" not in tags(book)
        and "emscripten" not in cell_text(book)  # it says itself that a browser lacks something
        and printed(cell["outputs"]) != printed(book["outputs"])
    ]
    assert different == []
    assert fresh.elsewhere == []


def run_cell(page: Page, begins: str, old: str = "", new: str = "") -> str:
    """Change `old` into `new` in the cell that holds `begins`, press its button, and give what stands under it."""
    index = page.evaluate(
        """([begins, old, fresh]) => {
          const boxes = [...document.querySelectorAll(".thebe-cell")];
          const index = boxes.findIndex(box => box.querySelector(".CodeMirror").CodeMirror.getValue().includes(begins));
          const editor = boxes[index].querySelector(".CodeMirror").CodeMirror;
          editor.setValue(editor.getValue().replace(old, fresh));
          return index;
        }""",
        [begins, old, new],
    )
    box = page.locator(".thebe-cell").nth(index)
    box.locator(".thebe-run-button").click()
    box.locator(".thebe-busy").wait_for(state="hidden")
    return page.locator("[data-output]").nth(index).inner_text()


@pytest.mark.parametrize(
    ("chapter", "cell", "old", "new", "shown"),
    [
        ("book/optim/clipping", "g = np.array([3.0, 4.0, 0.0])", "3.0, 4.0", "6.0, 8.0", "length 10.0"),
        ("book/optim/sgd", "turned = np.array(", 'print("eigenvalues', 'print(6 * 7, "eigenvalues', "42 eigenvalues"),
        ("book/nn/normalization", "x = np.array([1.0, 3.0", "/ x.std()", "/ 1", "normalised  [-3. -1. -1.  5.]"),
    ],
)
def test_an_edited_cell_shows_the_changed_result(
    chapter: str, cell: str, old: str, new: str, shown: str, fresh: Visit
) -> None:
    page = fresh.open(f"{chapter}.html")
    page.click(".odyssey-live-start")
    page.wait_for_function("document.documentElement.dataset.live")
    assert page.evaluate("document.documentElement.dataset.live") == "ready"
    run_cell(page, "plt.style.use")  # the imports
    output = run_cell(page, cell, old, new)
    if "AssertionError" not in shown and "AssertionError" in output:
        output = output[: output.index("AssertionError")]  # the cell's own assert may notice the change: that is fine
    assert shown in output
    assert fresh.elsewhere == []


def test_an_editor_has_a_name_and_lets_the_tab_key_out(fresh: Visit) -> None:
    page = fresh.open("book/optim/clipping.html")
    page.click(".odyssey-live-start")
    page.wait_for_function("document.documentElement.dataset.live")
    inputs = page.locator(".CodeMirror textarea")
    assert inputs.count() > 20
    assert all("Code of cell" in (inputs.nth(i).get_attribute("aria-label") or "") for i in range(inputs.count()))
    inputs.first.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className").startswith("thebe-button")


def test_without_the_edition_a_page_has_no_button(address: str, browser: Browser) -> None:
    with browser.new_context() as context:
        context.route("**/_static/live.js*", lambda route: route.fulfill(body="", content_type="text/javascript"))
        page = context.new_page()
        page.goto(f"{address}/book/optim/clipping.html")
        assert page.locator(".odyssey-live").count() == 0

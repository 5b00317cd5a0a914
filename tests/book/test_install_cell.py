"""Every chapter begins with the cell that installs the package where it is missing; here it is tried where it is."""

import json
import subprocess
import sys
from pathlib import Path

from tools import install_cell
from tools.chapters import chapters
from tools.source_cells import load

ROOT = Path(__file__).parents[2]


def test_every_chapter_begins_with_it() -> None:
    assert install_cell.problems(ROOT) == []


def test_a_chapter_without_it_is_named_and_mended(tmp_path: Path) -> None:
    (tmp_path / "_toc.yml").write_text("root: book/a/b\n", encoding="utf-8")
    path = tmp_path / "book" / "a" / "b.ipynb"
    path.parent.mkdir(parents=True)
    result = {"output_type": "execute_result", "execution_count": 1, "data": {}, "metadata": {}}
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": "# B"},
        {"cell_type": "code", "metadata": {}, "source": "1", "execution_count": 1, "outputs": [result]},
    ]
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    (problem,) = install_cell.problems(tmp_path)
    assert problem.startswith("book/a/b.ipynb: ") and "make sync" in problem
    mended = install_cell.with_cell(tmp_path, path, load(path))
    path.write_text(json.dumps(mended), encoding="utf-8")
    assert install_cell.problems(tmp_path) == []
    code = [cell for cell in mended["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [1, 2]
    assert code[1]["outputs"][0]["execution_count"] == 2
    assert install_cell.with_cell(tmp_path, path, load(path)) == mended  # twice is as good as once


def test_it_does_nothing_where_the_package_is(tmp_path: Path) -> None:
    text = install_cell.text_for(ROOT, chapters(ROOT)[0])
    code = f"{text}\nimport os; print(os.getcwd())"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert run.stdout.strip() == str(tmp_path.resolve()) and run.stderr == ""


def test_it_fetches_and_installs_where_the_package_is_missing(tmp_path: Path) -> None:
    text = install_cell.text_for(ROOT, chapters(ROOT)[0])
    folder = tmp_path / "ml-odyssey" / "book" / "autograd"
    folder.mkdir(parents=True)
    fake = (
        "import importlib.util, subprocess\n"
        "importlib.util.find_spec = lambda name: None\n"
        "subprocess.run = lambda command, check: print(check, *command)\n"
    )
    code = f"{fake}{text}\nprint(os.getcwd())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    said, clone, install, place = run.stdout.splitlines()
    assert "half a minute" in said
    assert clone == "True git clone --quiet --depth 1 https://github.com/ml-odyssey/ml-odyssey"
    assert install == f"True {sys.executable} -m pip install --quiet ./ml-odyssey[train]"
    assert place == str(folder.resolve())

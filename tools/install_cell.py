"""The first code cell of every chapter: it installs the package where that is missing, as in Colab.

The page of the book leaves the cell out (its tag remove-cell), and so does the edition for the browser, where the
package is there already (its tag install). `make sync` writes it into chapters that lack it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tools.chapters import chapters
from tools.source_cells import Notebook, cell_text, load

TEXT = """\
# Does nothing where odyssey is installed. Elsewhere, as in Colab, it fetches the whole book, installs
# the package, and goes to the folder of this chapter, which opens files beside itself.
from importlib.util import find_spec

if find_spec("odyssey") is None:
    import os
    import subprocess
    import sys

    print("Fetching the book and installing its package; this takes about half a minute.")
    repository = "https://github.com/ml-odyssey/ml-odyssey"
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", repository], check=True)
    package = "./ml-odyssey[train]"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", package], check=True)
    os.chdir("ml-odyssey/{folder}")"""
TAGS = ["install", "remove-cell"]


def text_for(root: Path, path: Path) -> str:
    """What the cell of the chapter at `path` says."""
    return TEXT.format(folder=path.parent.relative_to(root).as_posix())


def is_install(cell: dict[str, Any]) -> bool:
    """Whether a cell is the one that installs."""
    return "install" in cell.get("metadata", {}).get("tags", [])


def lacks_cell(root: Path, path: Path) -> bool:
    """Whether the first code cell of the chapter at `path` is another, or no longer what it should be."""
    first = next((cell for cell in load(path)["cells"] if cell["cell_type"] == "code"), None)
    return first is None or first["metadata"].get("tags") != TAGS or cell_text(first) != text_for(root, path)


def problems(root: Path) -> list[str]:
    """One problem for every chapter whose first code cell is another."""
    names = [path.relative_to(root).as_posix() for path in chapters(root) if lacks_cell(root, path)]
    return [f"{name}: its first code cell does not install a missing package; run: make sync" for name in names]


def with_cell(root: Path, path: Path, notebook: Notebook) -> Notebook:
    """`notebook` with the cell before its first code cell, and every execution counted from there."""
    cells = [cell for cell in notebook["cells"] if not is_install(cell)]
    place = next(i for i, cell in enumerate(cells) if cell["cell_type"] == "code")
    cell = {
        "cell_type": "code",
        "execution_count": None,
        "id": "install",
        "metadata": {"tags": TAGS},
        "outputs": [],
        "source": text_for(root, path).splitlines(keepends=True),
    }
    notebook["cells"] = [*cells[:place], cell, *cells[place:]]
    # The cell prints nothing, so the other outputs stay what they are; only the counts move on by one.
    for count, code in enumerate((c for c in notebook["cells"] if c["cell_type"] == "code"), start=1):
        if code is cell or code["execution_count"] is not None:
            code["execution_count"] = count
            for output in code["outputs"]:
                if "execution_count" in output:
                    output["execution_count"] = count
    return notebook


def main() -> None:
    root = Path(__file__).resolve().parents[1]
    for path in chapters(root):
        if lacks_cell(root, path):
            text = json.dumps(with_cell(root, path, load(path)), indent=1, ensure_ascii=False)
            path.write_text(text + "\n", encoding="utf-8")
            print(f"updated {path.relative_to(root).as_posix()}, the cell that installs")


if __name__ == "__main__":
    main()

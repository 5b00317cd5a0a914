"""Run chapters from top to bottom and store their outputs in place.   (make notebooks)

    python tools/notebooks.py                              every chapter under book/
    python tools/notebooks.py book/autograd/tape.ipynb     only this one

Stops at the first error, with the traceback, and then leaves that notebook as it was.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
VOLATILE = ("execution", "collapsed", "scrolled", "ExecuteTime", "outputId", "id")


def joined(outputs: list[Any]) -> list[Any]:
    """The outputs without stderr, and what was printed in a row as one text, however often it was flushed."""
    found: list[Any] = []
    for output in outputs:
        if output.get("name") == "stderr":
            continue
        if found and output["output_type"] == found[-1]["output_type"] == "stream":
            found[-1]["text"] += output["text"]
        else:
            found.append(output)
    return found


def normalise(notebook: Any) -> None:
    """Leave only what a reader or the build needs, so that another run on another machine changes nothing."""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    taken: set[str] = set()
    for number, cell in enumerate(notebook.cells):
        for key in VOLATILE:
            cell.metadata.pop(key, None)
        if not cell.get("id") or cell["id"] in taken:
            # From the content and the place, not at random: the same notebook always gets the same ids.
            cell["id"] = hashlib.sha256(f"{number}:{cell.source}".encode()).hexdigest()[:8]
        taken.add(cell["id"])
        cell.source = cell.source.rstrip()
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)


def execute(path: Path, timeout: int = 600) -> None:
    """Run one notebook in its own folder and write it back. Raises CellExecutionError where a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    normalise(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=timeout,
        record_timing=False,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        allow_errors=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    normalise(notebook)
    nbformat.validate(notebook)
    partial = path.with_suffix(".ipynb.partial")
    nbformat.write(notebook, partial)
    os.replace(partial, path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run chapters and store their outputs in place.")
    parser.add_argument("chapters", nargs="*", type=Path, help="notebooks; without any, all under book/")
    parser.add_argument("--timeout", type=int, default=600, help="seconds that one cell may take")
    options = parser.parse_args(arguments)
    everything = sorted(path for path in ROOT.glob("book/**/*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    for chapter in options.chapters or everything:
        start = time.perf_counter()
        print(f"{os.path.relpath(chapter, ROOT)} ... ", end="", flush=True)
        try:
            execute(chapter.resolve(), options.timeout)
        except CellExecutionError as error:
            print(f"failed; the file is unchanged.\n{error}", file=sys.stderr)
            return 1
        print(f"{time.perf_counter() - start:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

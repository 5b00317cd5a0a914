"""Reads off the sources which numbers of other libraries the tests and chapters compare with, and how closely.

The files in tests/reference hold the numbers; a script beside each made it. The tolerances are read in the code of the
tests and of the chapters, so that a page can tell them without anybody typing them again.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from tools.chapters import code_cells
from tools.source_cells import cell_text, load

LIBRARIES = {"torch": "PyTorch", "jax": "JAX", "optax": "Optax", "autograd": "HIPS autograd"}
# The arrays that hold a library's version.
NOTED = re.compile(r"(version[._])?(?P<library>torch|jax|optax|autograd)([._]version)?|version|made_with")
NUMBER = re.compile(r"\d+(?:\.\d+)+")
SMALL = 1e-2  # a comparison to more than this is not a tolerance but a claim


@dataclass
class Reference:
    """A file of numbers that other libraries gave."""

    name: str
    numbers: int  # what goes in and what comes out
    script: Path
    libraries: list[str]
    tests: list[Path]
    chapters: list[Path]
    tolerances: list[float]  # of the comparisons, sorted


def references(root: Path, chapters: list[Path]) -> list[Reference]:
    """One for each script in tests/reference."""
    tests = [path for path in sorted(root.glob("tests/*/test_*.py")) if path.parent.name not in ("book", "site")]
    texts = {path: path.read_text(encoding="utf-8") for path in tests}
    cells = {path: [cell_text(cell) for _, cell in code_cells(load(path))] for path in chapters}
    found = []
    for script in sorted(root.glob("tests/reference/make_*.py")):
        name = script.stem.removeprefix("make_")
        names = re.compile(rf"\b{name}\.npz\"|read_reference\(\"{name}\"")
        users = [path for path, text in texts.items() if names.search(text)]
        readers = [path for path, codes in cells.items() if any(names.search(code) for code in codes)]
        close = {value for path in users for value in tolerances_of_tests(texts[path], names)}
        close |= {value for path in readers for value in tolerances_of_cells(cells[path], names)}
        npz = script.with_name(f"{name}.npz")
        found.append(Reference(name, numbers(npz), script, libraries(script, npz), users, readers, sorted(close)))
    return found


def numbers(npz: Path) -> int:
    """How many numbers a file holds, and the file of weights beside it where there is one."""
    total = 0
    with np.load(npz) as file:
        for key in file.files:
            array = file[key]
            total += array.size if array.dtype.kind in "fiub" else 0
    weights = npz.with_suffix(".safetensors")
    if weights.is_file():
        total += sum(array.size for array in import_module("safetensors.numpy").load_file(weights).values())
    return total


def libraries(script: Path, npz: Path) -> list[str]:
    """The libraries that a script imports, with their versions where the file or the script notes them."""
    text = script.read_text(encoding="utf-8")
    noted: dict[str, str] = {}
    with np.load(npz) as file:
        for key in file.files:
            if (match := NOTED.fullmatch(key)) and file[key].dtype.kind == "U":
                noted[match["library"] or "torch"] = str(file[key])
    found = []
    for module, name in LIBRARIES.items():
        if not re.search(rf'^\s*import {module}\b|"{module}"', text, re.MULTILINE):
            continue
        told = re.search(rf"\b{name.split()[-1]} (\d+(?:\.\d+)+)", text)
        version = NUMBER.search(noted.get(module, "") or (told[0] if told else ""))
        found.append(f"{name} {version[0]}" if version else name)
    return found


# ---- Tolerances ----


def small_numbers(*nodes: ast.AST) -> list[float]:
    """The constants in a piece of code that may be tolerances."""
    constants = [part.value for node in nodes for part in ast.walk(node) if isinstance(part, ast.Constant)]
    return [value for value in constants if isinstance(value, float) and 0 < value <= SMALL]


def names_in(node: ast.AST, context: type[ast.expr_context] = ast.expr_context) -> set[str]:
    found = {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, context)}
    if isinstance(node, ast.FunctionDef) and not issubclass(context, ast.Store):
        found |= {argument.arg for argument in node.args.args}  # a fixture is used by naming a parameter after it
    return found


def tolerances(tree: ast.AST, module: ast.AST) -> Iterator[float]:
    """The tolerance of each comparison in a piece of code, the larger where it has two.

    It is what rtol=, atol=, rel= or abs= says, or an assert that ends in < 1e-12. One that has a name may have several
    values: what is assigned to the name, and what decorators, defaults and calls of the function hold.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given = [keyword.value for keyword in node.keywords if keyword.arg in ("rtol", "atol", "rel", "abs")]
            if any("tolerance" in names_in(value) for value in given):
                yield from values_of_tolerance(tree, module)
            elif small := small_numbers(*given):
                yield max(small)
        elif isinstance(node, ast.Assert):
            for part in ast.walk(node.test):
                if isinstance(part, ast.Compare) and len(part.ops) == 1 and isinstance(part.ops[0], ast.Lt | ast.LtE):
                    yield from small_numbers(part.comparators[-1])


def values_of_tolerance(tree: ast.AST, module: ast.AST) -> Iterator[float]:
    """The values that the variable `tolerance` of a function may have."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and "tolerance" in names_in(node, ast.Store):
            yield from small_numbers(node.value)
    for node in getattr(module, "body", []):  # a table, or a decorator that several tests share
        if isinstance(node, ast.Assign) and "tolerance" in ast.unparse(node).lower():
            yield from small_numbers(node.value)
    if isinstance(tree, ast.FunctionDef):
        yield from small_numbers(*tree.decorator_list, *tree.args.defaults)
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == tree.name:
                yield from small_numbers(*node.args, *node.keywords)


def tolerances_of_tests(text: str, names: re.Pattern[str]) -> Iterator[float]:
    """The tolerances of the functions of a test module that touch what is read from a reference file."""
    module, lines = ast.parse(text), text.splitlines()
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    held: set[str] = set()  # what holds numbers of the file: variables, fixtures
    touching: list[ast.FunctionDef] = []
    for node in module.body:
        source = "\n".join(lines[node.lineno - 1 : node.end_lineno])
        touches = bool(names.search(source) or names_in(node) & held)
        if isinstance(node, ast.FunctionDef):
            touching += [node] if touches else []
            if touches and any("fixture" in ast.unparse(decorator) for decorator in node.decorator_list):
                held.add(node.name)
        elif touches and not isinstance(node, ast.Import | ast.ImportFrom):
            held |= names_in(node, ast.Store)
    called = {name for node in touching for name in names_in(node)}
    comparing = [node for node in functions if node.name in called and "assert" in ast.unparse(node)]
    for node in {node.name: node for node in [*touching, *comparing]}.values():
        yield from tolerances(node, module)


def tolerances_of_cells(codes: list[str], names: re.Pattern[str]) -> Iterator[float]:
    """The tolerances of the cell of a chapter that reads a reference file, and of asserts that name `reference`."""
    for code in codes:
        if names.search(code):
            tree = ast.parse(code)
            yield from tolerances(tree, tree)
        elif re.search(r"\breference\[", code):
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.Assert) and "reference" in names_in(node):
                    yield from tolerances(node, node)

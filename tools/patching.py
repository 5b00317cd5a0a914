"""What is shown is what runs: nothing replaces an attribute of the package.

`patching_problems` reads the sources of package, chapters and tests; `snapshot` and `changes` compare the package
before and after a run.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path
from typing import Any

from tools.imports import Package, imports_of
from tools.source_cells import cell_text, load, notebooks

Snapshot = dict[str, tuple[int, str, object]]


def code_of(path: Path) -> str:
    """The Python of a file; of a notebook, its code cells one below the other, IPython's commands blanked out."""
    if path.suffix == ".py":
        return path.read_text(encoding="utf-8")
    cells = [cell_text(cell) for cell in load(path)["cells"] if cell["cell_type"] == "code"]
    kept = []
    for cell in cells:
        lines = [] if cell.startswith("%%") else cell.splitlines()
        kept.append("\n".join("pass" if line.startswith(("%", "!")) else line for line in lines))
    return "\n".join(kept)


def patches(tree: ast.Module, package: Package, module: str = "", is_package: bool = False) -> list[tuple[int, str]]:
    """(line, what it does) of every statement that sets or deletes an attribute of an odyssey module or definition."""
    bound: dict[str, tuple[str, str | None]] = {}
    for found in imports_of(tree, module, is_package):
        bound[found.bound] = ("odyssey", None) if found.bound == "odyssey" else (found.module, found.name)

    def ours(node: ast.AST) -> str | None:
        """The dotted name, if `node` denotes an odyssey module, class or function (not a value that one holds)."""
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in bound:
            return None
        where, kind = package.resolve(*bound[node.id])
        for name in names:
            if kind != "module":
                # Attributes of a definition (Tensor.exp.__doc__) are the package too; those of a value are data.
                break
            where, kind = package.resolve(where, name)
        return ".".join([node.id, *names]) if kind != "value" else None

    def target_of(node: ast.AST) -> str | None:
        if isinstance(node, ast.Attribute) and (owner := ours(node.value)):
            return f"{owner}.{node.attr}"
        if isinstance(node, ast.Subscript):  # vars(X)["f"] = …, X.__dict__["f"] = …, sys.modules["odyssey.x"] = …
            holder = node.value
            if (
                isinstance(holder, ast.Call)
                and isinstance(holder.func, ast.Name)
                and holder.func.id == "vars"
                and holder.args
            ):
                owner = ours(holder.args[0])
                return f"vars({owner})[...]" if owner else None
            if isinstance(holder, ast.Attribute) and holder.attr == "__dict__" and (owner := ours(holder.value)):
                return f"{owner}.__dict__[...]"
            if ast.unparse(holder) == "sys.modules" and "odyssey" in ast.unparse(node.slice):
                return ast.unparse(node)
        return None

    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = [each for target in node.targets for each in ast.walk(target) if isinstance(each, ast.expr)]
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        elif isinstance(node, ast.Delete):
            targets = node.targets
        elif isinstance(node, ast.For | ast.AsyncFor):
            targets = [node.target]
        elif isinstance(node, ast.With | ast.AsyncWith):
            targets = [item.optional_vars for item in node.items if item.optional_vars]
        for target in targets:
            if isinstance(getattr(target, "ctx", None), ast.Store | ast.Del) and (name := target_of(target)):
                found.append(
                    (node.lineno, f"assigns {name}" if not isinstance(node, ast.Delete) else f"deletes {name}")
                )
        if isinstance(node, ast.Call) and node.args:
            function, first = ast.unparse(node.func), node.args[0]
            last = function.split(".")[-1]
            patching = last in ("setattr", "delattr", "__setattr__", "__delattr__") or "patch" in last
            if patching or function.endswith("patch.object"):
                text = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
                if ours(first) or (text or "").split(".")[0] == "odyssey":
                    found.append((node.lineno, f"calls {function}({text or ast.unparse(first)}, ...)"))
    return sorted(found)


def patching_problems(root: Path, exempt: tuple[str, ...] = ()) -> list[str]:
    """Problems in the package, the chapters and the tests, except files named (relative to root) in `exempt`."""
    package = Package(root)
    modules = {file: module for module, file in package.files.items()}
    problems = []
    for path in [*modules, *notebooks(root), *sorted((root / "tests").rglob("*.py"))]:
        name = path.relative_to(root).as_posix()
        if name in exempt:
            continue
        try:
            tree = ast.parse(code_of(path))
        except SyntaxError as error:
            problems.append(f"{name}: its code is not Python ({error.msg}), so it cannot be checked")
            continue
        for line, action in patches(tree, package, modules.get(path, ""), path.name == "__init__.py"):
            kind = "line" if path.suffix == ".py" else "line of code"
            problems.append(f"{name}, {kind} {line}: {action}; what the book shows must be what runs")
    return problems


def odyssey_modules() -> list[Any]:
    """The package and all its modules, imported."""
    package = importlib.import_module("odyssey")
    names = [info.name for info in pkgutil.walk_packages(package.__path__, "odyssey.")]
    return [package, *map(importlib.import_module, names)]


def snapshot() -> Snapshot:
    """Every attribute of every odyssey module and class: which object it is.

    Private attributes that are not callable (counters, caches, what Python keeps for itself) may change.
    """
    taken: Snapshot = {}

    def take(owner: Any, prefix: str) -> None:
        for name, value in list(vars(owner).items()):
            plain = callable(value) or isinstance(value, staticmethod | classmethod | property)
            if (name.startswith("_") and not plain) or name in ("__builtins__", "__annotate__", "__annotate_func__"):
                continue
            taken[f"{prefix}.{name}"] = (id(value), type(value).__name__, value)
            if isinstance(value, type) and value.__module__ == prefix:
                take(value, f"{prefix}.{name}")

    for module in odyssey_modules():
        take(module, module.__name__)
    return taken


def changes(before: Snapshot, after: Snapshot) -> list[str]:
    """One problem for every attribute that was added, removed or replaced between two snapshots."""
    problems = [f"{name} was removed" for name in before if name not in after]
    problems += [f"{name} was added" for name in after if name not in before]
    problems += [f"{name} was replaced" for name in before if name in after and before[name][2] is not after[name][2]]
    return sorted(problems)

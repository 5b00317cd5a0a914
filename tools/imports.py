"""Who may import whom: the order of the book is the order of the imports.

`odyssey.autograd` imports nothing of ours outside itself, `odyssey.optim` and `odyssey.nn` only autograd, and
`odyssey.train` may import all of these; `odyssey.data` and `odyssey.figures` stand alone. Inside a part a module
imports only modules of earlier chapters. A chapter's module is a file (`tape.py`) or a folder of files (`tape/`); any
other file is a helper and counts as late as the latest module that it imports. Imports under `if TYPE_CHECKING:` do
nothing at run time and are free.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

MAX_LINES = 400
ALLOWED = {
    "autograd": {"autograd"},
    "optim": {"autograd", "optim"},
    "nn": {"autograd", "nn"},
    "data": {"data"},
    "figures": {"figures"},
    "train": {"autograd", "optim", "nn", "data", "train"},
    "exercises": {"autograd", "optim", "nn", "data", "train", "exercises"},
}


def toc_files(root: Path) -> list[str]:
    """The pages of _toc.yml in their order, without suffix. (The file is simple enough to be read line by line.)"""
    text = (root / "_toc.yml").read_text(encoding="utf-8")
    return re.findall(r"^\s*-?\s*(?:file|root):\s*(\S+)\s*$", text, flags=re.MULTILINE)


def chapter_order(root: Path) -> dict[tuple[str, str], int]:
    """(part, chapter) → place in the book, for every page book/<part>/<chapter> of _toc.yml but a part's own."""
    pages = [tuple(page.split("/")[1:]) for page in toc_files(root)]
    pages = [page for page in pages if len(page) == 2 and page[1] != "index"]
    return {(page[0], page[1]): place for place, page in enumerate(pages)}


@dataclass
class Import:
    """`module` is what the statement loads, `name` what it takes out of it, `bound` what it is called from then on."""

    line: int
    module: str
    name: str | None
    bound: str


@dataclass
class Package:
    """The source files of `odyssey` under a root, parsed, never imported."""

    root: Path
    trees: dict[str, ast.Module] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for file in sorted((self.root / "odyssey").rglob("*.py")):
            parts = file.relative_to(self.root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            self.files[name] = file
            self.trees[name] = ast.parse(file.read_text(encoding="utf-8"))

    def imports(self, module: str) -> list[Import]:
        is_package = self.files[module].name == "__init__.py"
        return imports_of(self.trees[module], module, is_package)

    def resolve(self, module: str, name: str | None, seen: frozenset[tuple[str, str]] = frozenset()) -> tuple[str, str]:
        """(module that defines it, "module" | "definition" | "value") of `name` in `module`, re-exports followed."""
        if name is None:
            return module, "module"
        if f"{module}.{name}" in self.trees:
            return f"{module}.{name}", "module"
        if module not in self.trees or (module, name) in seen:
            return module, "definition"
        for node in self.trees[module].body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == name:
                return module, "definition"
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                    return module, "value"
        for found in self.imports(module):
            if found.bound == name and found.name is not None:
                return self.resolve(found.module, found.name, seen | {(module, name)})
        return module, "definition"


def imports_of(tree: ast.AST, module: str = "", is_package: bool = False) -> list[Import]:
    """Every import of ours in a file, at whatever depth it stands, except under `if TYPE_CHECKING:`."""
    found: list[Import] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "odyssey":
                    found.append(Import(node.lineno, alias.name, None, alias.asname or "odyssey"))
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = module.split(".")
                up = up[: len(up) - node.level + is_package]
                base = ".".join([*up, *([node.module] if node.module else [])])
            if base.split(".")[0] == "odyssey":
                for alias in node.names:
                    found.append(Import(node.lineno, base, alias.name, alias.asname or alias.name))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


def part_and_chapter(module: str) -> tuple[str, str]:
    """odyssey.autograd.tape.tensor → (autograd, tape); missing pieces are empty."""
    pieces = [*module.split("."), "", ""]
    return pieces[1], pieces[2]


def import_problems(root: Path) -> list[str]:
    package, order = Package(root), chapter_order(root)
    places: dict[str, int] = {}

    def place(module: str, on_the_way: tuple[str, ...] = ()) -> int:
        """Where in the book a module stands: its chapter's place or, for a helper, that of its latest import."""
        key = part_and_chapter(module)
        if key in order and key[0] != "exercises":
            return order[key]
        if module in places or module in on_the_way or module not in package.trees:
            return places.get(module, -1)
        targets = [package.resolve(found.module, found.name)[0] for found in package.imports(module)]
        latest = max((place(target, (*on_the_way, module)) for target in targets), default=-1)
        if not on_the_way:
            places[module] = latest
        return latest

    problems = []
    for module, file in package.files.items():
        part, chapter = part_and_chapter(module)
        if part not in ALLOWED:
            continue  # odyssey/__init__.py and the aliases beside it gather what the parts define
        # A part's __init__ gathers the part; an exercise's module belongs to the chapter of its name.
        own = next(
            (number for key, number in order.items() if key[1] == chapter and part in ("exercises", key[0])), None
        )
        for found in package.imports(module):
            target, _ = package.resolve(found.module, found.name)
            where = f"{file.relative_to(root).as_posix()}:{found.line}"
            target_part, target_chapter = part_and_chapter(target)
            what = f"{found.module}.{found.name}" if found.name else found.module
            if target == "odyssey":
                problems.append(f"{where}: imports {what} from the top of the package; name the module that defines it")
            elif target_part in ALLOWED and target_part not in ALLOWED[part]:
                allowed = ", ".join(f"odyssey.{name}" for name in sorted(ALLOWED[part]))
                problems.append(f"{where}: imports {what}, but odyssey.{part} may import only {allowed}")
            elif (
                own is not None
                and (target_part, target_chapter) != (part, chapter)
                and place(target) > own - (part != "exercises")
            ):
                if place(target) == own and target_part == part and (part, target_chapter) not in order:
                    reason = f"a helper that itself needs {chapter}"
                else:
                    reason = "a later chapter"
                problems.append(
                    f"{where}: imports {what} ({target}), {reason}; {chapter} may import only what comes before it"
                )
    return problems


def chapter_imports(root: Path) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """(part, chapter) → the chapters whose modules its module imports, whatever helper passes their names on.

    A helper that is imported whole, such as `functional as F`, counts for those names that are taken out of it.
    """
    package, order = Package(root), chapter_order(root)
    found: dict[tuple[str, str], set[tuple[str, str]]] = {key: set() for key in order}
    for module, tree in package.trees.items():
        own = part_and_chapter(module)
        if own not in found:
            continue
        for statement in package.imports(module):
            target, kind = package.resolve(statement.module, statement.name)
            targets = {target}
            if kind == "module" and part_and_chapter(target) not in order:
                uses = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
                taken = {node.attr for node in uses if ast.unparse(node.value) == statement.bound}
                targets = {package.resolve(target, name)[0] for name in taken}
            found[own] |= {part_and_chapter(target) for target in targets} & set(order) - {own}
    return found


def long_files(root: Path) -> list[str]:
    problems = []
    for file in sorted((root / "odyssey").rglob("*.py")):
        count = len(file.read_text(encoding="utf-8").splitlines())
        if count > MAX_LINES:
            problems.append(
                f"{file.relative_to(root).as_posix()}: {count} lines; the limit is {MAX_LINES}, so split it"
            )
    return problems

"""The tape made visible: the Wengert list of a result as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from .entry import NAME, PARENTS, SHAPE
from .sweep import collect


class Row(NamedTuple):
    """One line of a `Tape`.

    Attributes
    ----------
    index : int
        Position in this list, from 0.
    op : str
        Name of the primitive, or "leaf".
    inputs : tuple of int or None
        Lines that the inputs stand on; None for a constant.
    shape : tuple of int
        Shape of the result.
    """

    index: int  # type: ignore[assignment]  # a tuple has a method of this name
    op: str
    inputs: tuple[int | None, ...]
    shape: tuple[int, ...]


class Tape:
    """The Wengert list of one result: its leaves, then its operations in the order of recording.

    A sequence of `Row`. Prints as a table; in a notebook it shows as an HTML table.
    """

    def __init__(self, root: Any) -> None:
        self._rows = list(_rows(root))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __getitem__(self, index: int) -> Row:
        return self._rows[index]

    def _cells(self) -> list[tuple[str, str, str, str]]:
        return [("index", "op", "inputs", "shape")] + [
            (str(r.index), r.op, ", ".join(map(_name, r.inputs)), str(r.shape)) for r in self._rows
        ]

    def __repr__(self) -> str:
        w = [max(map(len, column)) for column in zip(*self._cells(), strict=True)]
        rows = self._cells()
        lines = [f"{i:>{w[0]}}  {op:<{w[1]}}  {ins:<{w[2]}}  {s}" for i, op, ins, s in rows]
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        from html import escape  # here, because it is slow to import and only notebooks need it

        head, *body = [[escape(cell) for cell in row] for row in self._cells()]
        titles = "".join(f'<th scope="col">{cell}</th>' for cell in head)
        rows = ("".join(f"<td>{cell}</td>" for cell in row) for row in body)
        lines = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>"


def _name(line: int | None) -> str:
    return "const" if line is None else str(line)


def _rows(root: Any) -> Iterator[Row]:
    entries = collect(root) if type(root) is list else []
    parents = [parent for entry in entries for parent in entry[PARENTS] if parent is not None]
    leaves = {id(leaf): leaf for leaf in parents if type(leaf) is not list} or {id(root): root}
    line = {key: i for i, key in enumerate([*leaves, *map(id, entries)])}
    for key, leaf in leaves.items():
        yield Row(line[key], "leaf", (), leaf.shape)
    for entry in entries:
        inputs = tuple(line.get(id(parent)) for parent in entry[PARENTS])
        yield Row(line[id(entry)], entry[NAME], inputs, entry[SHAPE])

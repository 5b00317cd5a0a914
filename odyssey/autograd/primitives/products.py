"""Products of matrices.

Linear in each input: the vjp is a product with the other one, transposed.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

import numpy as np

from ..tape import primitive, unbroadcast
from ..tape.entry import Array, Rule


@primitive(np.matmul, product=True)
def matmul(x: Array, y: Array) -> Rule:
    """x @ y as in `numpy.matmul`: the last two axes multiply, the others broadcast.

    For matrices dx = g y^T and dy = x^T g.
    """
    out = np.matmul(x, y)
    if x.ndim == y.ndim == 2:
        return out, (lambda g: g @ y.T, lambda g: x.T @ g)
    # A vector takes part as a matrix of one row or one column; `full` is the result with that axis.
    a, b = x if x.ndim > 1 else x[None, :], y if y.ndim > 1 else y[:, None]
    full = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])

    def for_x(g: Array) -> Array:
        return unbroadcast(g.reshape(full) @ np.swapaxes(b, -1, -2), a.shape).reshape(x.shape)

    def for_y(g: Array) -> Array:
        if b.ndim == 2:  # many rows against one matrix: one large product, not many and a sum
            rows = prod(a.shape[:-1])
            return (a.reshape(rows, a.shape[-1]).T @ g.reshape(rows, b.shape[-1])).reshape(y.shape)
        return unbroadcast(np.swapaxes(a, -1, -2) @ g.reshape(full), b.shape).reshape(y.shape)

    return out, (for_x, for_y)


@primitive(np.dot, product=True)
def dot(x: Array, y: Array) -> Rule:
    """`numpy.dot`: sums over the last axis of x and the last but one of y; a number multiplies."""
    out = np.dot(x, y)
    if np.ndim(x) == 0 or np.ndim(y) == 0:
        return out, (lambda g: g * y, lambda g: g * x)
    along = 0 if y.ndim == 1 else y.ndim - 2
    rest = tuple(n for i, n in enumerate(y.shape) if i != along)
    rows = x.reshape(prod(x.shape[:-1]), x.shape[-1])
    columns = np.moveaxis(y, along, 0).reshape(y.shape[along], prod(rest))
    flat = (rows.shape[0], columns.shape[1])
    return out, (
        lambda g: (g.reshape(flat) @ columns.T).reshape(x.shape),
        lambda g: np.moveaxis((rows.T @ g.reshape(flat)).reshape(y.shape[along], *rest), 0, along),
    )


@primitive(np.outer)
def outer(x: Array, y: Array) -> Rule:
    """x_i y_j for all i and j of the flattened inputs. dx = g y, dy = g^T x."""
    return np.outer(x, y), (
        lambda g: (g @ y.ravel()).reshape(x.shape),
        lambda g: (x.ravel() @ g).reshape(y.shape),
    )


@primitive(np.einsum, product=True)
def einsum(subscripts: str, *operands: Array) -> Rule:
    """`numpy.einsum` of a subscript string, with or without ``->`` and ``...``.

    The gradient of an operand is an einsum again: its letters and the output's change places.
    """
    terms, output = parse_einsum(subscripts, operands)
    out = np.einsum(",".join(terms) + "->" + output, *operands, optimize=len(operands) > 1)
    arguments = terms, output, operands
    gradients = [partial(_einsum_gradient, k, *arguments) for k in range(len(operands))]
    return out, (None, *gradients)


def _einsum_gradient(
    k: int, terms: list[str], output: str, operands: tuple[Array, ...], g: Array
) -> Array:
    sizes: dict[str, int] = {}
    for term, operand in zip(terms, operands, strict=True):
        for letter, n in zip(term, operand.shape, strict=True):
            sizes[letter] = n if sizes.get(letter, 1) == 1 else sizes[letter]
    others = [i for i in range(len(terms)) if i != k]
    letters = "".join(dict.fromkeys(terms[k]))
    # A letter that stands nowhere else was summed on its own: the gradient is the same along it.
    known = "".join(c for c in letters if c in output or any(c in terms[i] for i in others))
    inputs = ",".join([output, *(terms[i] for i in others)])
    part = np.einsum(f"{inputs}->{known}", g, *(operands[i] for i in others), optimize=bool(others))
    part = np.expand_dims(part, tuple(i for i, c in enumerate(letters) if c not in known))
    part = np.broadcast_to(part, [sizes[c] for c in letters])
    # A letter of length 1 here and n elsewhere was broadcast.
    shape = {c: n for c, n in zip(terms[k], operands[k].shape, strict=True)}
    part = unbroadcast(part, tuple(shape[c] for c in letters))
    if len(letters) == len(terms[k]):
        return part
    out = np.zeros(operands[k].shape, part.dtype)  # a repeated letter lives on the diagonal
    np.einsum(f"{terms[k]}->{letters}", out)[...] = part
    return out


def parse_einsum(subscripts: Any, operands: tuple[Any, ...]) -> tuple[list[str], str]:
    """The letters of each operand and of the output; ``...`` and a missing output written out."""
    if not isinstance(subscripts, str):
        got = type(subscripts).__name__
        raise TypeError(f"expected a subscript string such as 'ij,jk->ik' first, got {got}")
    left, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise ValueError(f"{subscripts!r} names {len(terms)} operands, got {len(operands)}")
    if not arrow:
        once = "".join(sorted(c for c in set(left) - set(",.") if left.count(c) == 1))
        output = ("..." if "..." in left else "") + once
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in subscripts]
    lengths = [
        np.ndim(a) - len(t.replace("...", "")) if "..." in t else 0
        for t, a in zip(terms, operands, strict=True)
    ]
    most = "".join(spare[: max([0, *lengths])])
    written = [t.replace("...", most[len(most) - n :]) for t, n in zip(terms, lengths, strict=True)]
    for term, operand in zip(written, operands, strict=True):
        if len(term) != np.ndim(operand):
            got = f"{len(term)} letters to an operand of shape {np.shape(operand)}"
            raise ValueError(f"{subscripts!r} gives {got}")
    return written, output.replace("...", most)

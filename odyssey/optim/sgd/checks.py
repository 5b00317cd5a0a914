"""What an optimizer accepts as a number, a flag or a parameter, and what it says otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

from ...autograd import Tensor
from ...autograd.tape.entry import LEAF, Array, mode

# (name of the optimizer, name of the option, value) -> the value in its final form
Check = Callable[[str, str, Any], Any]


def number(owner: str, name: str, value: Any, low: float, high: float, wanted: str) -> float:
    """`value` as a Python float, if it is a finite real number with ``low <= value < high``."""
    if isinstance(value, np.ndarray | Tensor) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        got = f"got {value!r} of type {type(value).__name__}"
        raise TypeError(f"{owner}: expected {name} to be {wanted}, {got}; pass a float")
    # float16 and float32 scalars would make every product with them a slow mixed one
    found = float(value)
    if not (math.isfinite(found) and low <= found < high):
        raise ValueError(f"{owner}: expected {name} to be {wanted}, got {found}; choose another")
    return found


def nonnegative(owner: str, name: str, value: Any) -> float:
    """A finite number of at least 0: a rate, a decay, an epsilon."""
    return number(owner, name, value, 0.0, math.inf, "a finite number of at least 0")


def fraction(owner: str, name: str, value: Any) -> float:
    """A number from 0 up to, but not including, 1: how much of an average is kept."""
    return number(owner, name, value, 0.0, 1.0, "a number in [0, 1)")


def finite(owner: str, name: str, value: Any) -> float:
    """Any finite number."""
    return number(owner, name, value, -math.inf, math.inf, "a finite number")


def two_fractions(owner: str, name: str, value: Any) -> tuple[float, float]:
    """A pair of fractions, such as Adam's betas."""
    pair = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else value
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise ValueError(f"{owner}: expected {name} to be two numbers in [0, 1), got {value!r}")
    first, second = (fraction(owner, f"{name}[{i}]", x) for i, x in enumerate(pair))
    return first, second


def flag(owner: str, name: str, value: Any) -> bool:
    """True or False, and nothing that merely counts as one of them."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{owner}: expected {name} to be True or False, got {value!r}")
    return bool(value)


def count(owner: str, name: str, value: Any) -> int:
    """A whole number of at least 1."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Integral):
        raise TypeError(f"{owner}: expected {name} to be a whole number, got {value!r}")
    if value < 1:
        raise ValueError(f"{owner}: expected {name} to be at least 1, got {value}")
    return int(value)


def as_groups(owner: str, params: Any) -> list[dict[str, Any]]:
    """`params` as a list of group dictionaries: one group, if they are given without groups."""
    if isinstance(params, Tensor | np.ndarray | Mapping | str) or not isinstance(params, Iterable):
        got = type(params).__name__
        raise TypeError(f"{owner}: expected params to be an iterable of Tensors or of dicts, got "
                        f"{got}; put it into a list")  # fmt: skip
    found = list(params)
    if not found:
        raise ValueError(f"{owner}: expected at least one parameter, got none; if params is a "
                         f"generator, it may have been used up already")  # fmt: skip
    if isinstance(found[0], Mapping):
        for i, group in enumerate(found):
            if not isinstance(group, Mapping):
                got = type(group).__name__
                raise TypeError(f"{owner}: params[{i}] is a {got} among dicts; give only one kind")
        return [dict(group) for group in found]
    return [{"params": found}]


def checked_params(owner: str, params: Any, taken: set[int]) -> list[Tensor]:
    """The Tensors of one group, each a leaf, none of them twice or in `taken` (ids) already."""
    found = [params] if isinstance(params, Tensor) else list(params)
    if not found:
        raise ValueError(f"{owner}: a group without parameters; leave it out")
    seen = set(taken)
    for i, p in enumerate(found):
        if not isinstance(p, Tensor):
            got = type(p).__name__
            raise TypeError(f"{owner}: expected parameters to be Tensors, got {got} at {i}; wrap "
                            f"arrays as Tensor(array, requires_grad=True)")  # fmt: skip
        if p.dtype.kind not in "fV":  # V: bfloat16
            raise TypeError(f"{owner}: parameter {i}, of shape {p.shape}, has dtype {p.dtype} and "
                            f"so no gradient; convert it with dtype=np.float32")  # fmt: skip
        if p.requires_grad and p._entry is not LEAF:
            raise ValueError(f"{owner}: parameter {i}, of shape {p.shape}, is a result, not a leaf;"
                             f" pass the tensors that it was computed from")  # fmt: skip
        if id(p) in seen:
            raise ValueError(f"{owner}: parameter {i}, of shape {p.shape}, is there twice; each "
                             f"may be in one group only, once")  # fmt: skip
        seen.add(id(p))
    return found


def checked_gradient(owner: str, n: int, i: int, p: Tensor) -> Array:
    """The grad of `p`, parameter `i` of group `n`: an array of its shape.

    Raises TypeError or ValueError if it is not, and under `detect_anomaly` RuntimeError if a NaN or
    an infinity is in it.
    """
    g = p.grad
    if isinstance(g, np.ndarray) and g.dtype.kind in "fV" and g.shape == p.shape:
        if mode.anomaly and not np.isfinite(g).all():
            bad = tuple(int(i) for i in np.argwhere(~np.isfinite(g))[0])
            raise RuntimeError(
                f"{owner}: the grad of parameter {i} of group {n}, of shape {p.shape}, is {g[bad]} "
                f"at index {bad}; nothing was updated"
            )
        return g
    where = f"{owner}: parameter {i} of group {n}"
    if isinstance(g, np.ndarray) and g.dtype.kind in "fV":
        raise ValueError(
            f"{where} has shape {p.shape} and a grad of shape {g.shape}; "
            f"call zero_grad() and backward() again"
        )
    got = f"an array of {g.dtype}" if isinstance(g, np.ndarray) else type(g).__name__
    raise TypeError(
        f"{where} has a grad that is {got}, not an array of floats; let backward() make it"
    )

"""The memory of an optimizer: flat states, cut into blocks that stay in the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...autograd import Tensor
from ...autograd.tape.entry import Array

# Numbers in one block: 0.5 MB of float32, so that a handful of such arrays stay in the cache.
BLOCK = 131072

# Parameters with fewer numbers than this share a block: a NumPy call on a few numbers costs as
# much as one on thousands, so ten small tensors are updated by one call, not by ten.
SMALL = 16384


class Dense:
    """A state that is stored as it is used: one number of `dtype` for each number updated."""

    packed = False  # read gives the state itself: what is written into it is stored

    def __init__(self, size: int, dtype: Any, fill: float = 0.0) -> None:
        self.array = np.full(size, fill, dtype)

    def read(self, start: int, stop: int, out: Array) -> Array:
        """The numbers from `start` to `stop`, not copied; other kinds of state fill `out`."""
        return self.array[start:stop]

    def write(self, start: int, stop: int, values: Array, t: int = 0) -> None:
        """Replace the numbers from `start` to `stop`, in step `t`."""
        self.array[start:stop] = values


def working_dtype(p: Tensor) -> np.dtype[Any]:
    """The dtype in which `p` is updated: its own, but float32 for the half-precision ones.

    An update of 1e-4 added to a float16 weight of 1 would be rounded away, and so would the squares
    in Adam's state.
    """
    return p.dtype if p.dtype.itemsize >= 4 else np.dtype(np.float32)


class Bucket:
    """Parameters of one group that are updated together, and their states.

    Parameters
    ----------
    members : list of int
        Positions of the parameters in their group.
    params : list of Tensor
        These parameters, all with the same `working_dtype`.

    Attributes
    ----------
    steps : list of int
        Updates that each member has had. A member without gradient misses one.
    offsets : list of int
        Where each member begins in the flat states; one more entry gives their length.
    states : dict of str to Dense
        Flat states by name; the optimizer makes them.
    """

    def __init__(self, members: list[int], params: list[Tensor]) -> None:
        self.members = members
        self.dtype = working_dtype(params[0])
        self.shapes = [p.shape for p in params]
        self.steps = [0] * len(params)
        self.offsets = [0]
        for p in params:
            self.offsets.append(self.offsets[-1] + p.size)
        self.states: dict[str, Any] = {}

    def fits(self, owner: str, params: list[Tensor]) -> bool:
        """Whether the states have the dtype of `params`, the parameters of the whole group.

        Raises ValueError if one of the members has another shape than when its states were made.
        """
        same = True
        for i, shape in zip(self.members, self.shapes, strict=True):
            array = params[i].data
            if array.shape != shape:
                got = f"parameter {i} has shape {array.shape}, but had {shape} in the steps before"
                raise ValueError(f"{owner}: {got}; make a new optimizer")
            same &= array.dtype is self.dtype or working_dtype(params[i]) == self.dtype
        return same


def suits(bucket: Bucket, names: tuple[str, ...], packed: bool) -> bool:
    """Whether the states of `bucket` have these `names`, in this order, and are `packed` or not."""
    states = bucket.states
    return tuple(states) == names and all(s.packed is packed for s in states.values())


def fill_buckets(params: dict[int, Tensor], apart: bool) -> Iterator[Bucket]:
    """Buckets for `params` (position in the group to Tensor): small ones together, unless `apart`.

    A large parameter has a bucket of its own.
    """
    waiting: dict[Any, list[int]] = {}
    for i, p in params.items():
        if apart or p.size >= SMALL:
            yield Bucket([i], [p])
            continue
        together = waiting.setdefault(working_dtype(p), [])
        if sum(params[j].size for j in together) + p.size > BLOCK:
            yield Bucket(together, [params[j] for j in together])
            together = waiting[working_dtype(p)] = []
        together.append(i)
    for together in waiting.values():
        if together:
            yield Bucket(together, [params[j] for j in together])


def flat_or_none(array: Array, dtype: np.dtype[Any]) -> Array | None:
    """`array` as one row of numbers that shares its memory, if it has `dtype` and no gaps."""
    flags = array.flags
    if flags.c_contiguous and flags.writeable and array.dtype == dtype:
        return array.reshape(-1)
    return None

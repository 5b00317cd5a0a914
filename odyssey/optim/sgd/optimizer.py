"""The step that all optimizers share: blocks of parameters and gradients, handed to `update`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ...autograd import Tensor
from ...autograd.tape.entry import Array
from .bucket import BLOCK, Bucket, flat_or_none, suits
from .checks import checked_gradient
from .states import States, member_state
from .threads import WORTH_SHARING, processors, share


class Workspace:
    """Rows of numbers to work in, made once and kept: a step allocates nothing that grows."""

    def __init__(self) -> None:
        self._rows: dict[Any, Array] = {}
        self._found: dict[Any, list[Array]] = {}

    def rows(self, dtype: Any, count: int, length: int) -> list[Array]:
        """`count` arrays of `length` numbers of `dtype`; what they hold is left from last time."""
        found = self._found.get((dtype, count, length))
        if found is None:
            rows = self._rows.get(dtype)
            if rows is None or rows.shape[0] < count or rows.shape[1] < length:
                longest = length if rows is None else max(length, rows.shape[1])
                rows = self._rows[dtype] = np.empty((count, longest), dtype)
                self._found.clear()
            found = self._found[dtype, count, length] = [row[:length] for row in rows[:count]]
        return found

    def __reduce__(self) -> Any:
        return Workspace, ()  # a copy of an optimizer makes its own


def put_back(p: Tensor, values: Array) -> None:
    """Write the flat `values` into the array of `p`, or a new one if that is read-only."""
    try:
        p.data[...] = values.reshape(p.shape)
    except ValueError:
        p.data = values.reshape(p.shape).astype(p.dtype)


class Piece(NamedTuple):
    """What one call of `update` moves: numbers `at` to `to` of the states of `bucket`."""

    p: Array
    g: Array
    state: list[Array]  # empty if the states are packed
    t: int
    group: Any
    bucket: Bucket
    at: int
    to: int


def batched(pieces: Iterator[Piece]) -> Iterator[list[Piece]]:
    """`pieces` in lists of 64: no list grows with the model."""
    while batch := list(islice(pieces, 64)):
        yield batch


class Blocks(States):
    """Cuts flat parameters, gradients and states into blocks, one for each call of `update`."""

    work_arrays: ClassVar[int] = 2  # how many arrays to work in `update` is given

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self._workspaces = [Workspace() for _ in range(processors())]  # one for each thread
        self._copies = Workspace()
        super().__init__(params, defaults)

    def update(
        self, p: Array, g: Array, state: list[Array], work: list[Array], t: int, group: Any
    ) -> None:
        """Change the block `p` of parameters, and its `state`, in place.

        `g` is the gradient and must not be changed; `work` holds arrays to work in; `t` counts the
        steps of these parameters from 1; `group` has the options. All arrays have one shape. Two
        blocks may be updated at the same time, in two threads.
        """
        raise NotImplementedError(f"{type(self).__name__}: define update")

    def _pieces(
        self, group: Any, bucket: Bucket, k: int, p: Array, g: Array, t: int
    ) -> Iterator[Piece]:
        """Step `t` of the flat parameters `p`, which begin with member `k` of `bucket`."""
        length, first = max(p.size, 1) if self.layerwise else BLOCK, bucket.offsets[k]
        dense = [s for s in bucket.states.values() if not s.packed]
        for start in range(0, p.size, length):
            stop = min(p.size, start + length)
            arrays = [p[start:stop], g[start:stop]]
            arrays += [s.array[first + start : first + stop] for s in dense]
            if self.layerwise:
                arrays = [a.reshape(bucket.shapes[k]) for a in arrays]
            x, dx, *state = arrays
            yield Piece(x, dx, state, t, group, bucket, first + start, first + stop)

    def _rows(self, bucket: Bucket, length: int, thread: int = 0) -> list[Array]:
        """Rows to work in, then rows for gathering or unpacking."""
        count = self.work_arrays + max(2, len(bucket.states))
        return self._workspaces[thread].rows(bucket.dtype, count, length)


class Moves(Blocks):
    """Calls `update` for one piece, or for many in two threads."""

    shareable: ClassVar[bool] = True  # False: the products in `update` have threads of their own

    def _move(self, piece: Piece, thread: int = 0) -> None:
        """Call `update` for one piece, in the workspace of `thread`."""
        p, g, state, t, group, bucket, at, to = piece
        rows = self._rows(bucket, to - at, thread)
        work = rows[: self.work_arrays]
        if self.layerwise:
            work = [a.reshape(p.shape) for a in work]
        packed = [] if state else list(bucket.states.values())
        if packed:
            spare = rows[self.work_arrays :]
            state = [s.read(at, to, row) for s, row in zip(packed, spare, strict=False)]
        self.update(p, g, state, work, t, group)
        for s, values in zip(packed, state, strict=False):
            s.write(at, to, values, t)

    def _move_all(self, pieces: list[Piece]) -> None:
        """Call `update` for all pieces, in two threads if there is enough to do."""
        size = sum(piece.to - piece.at for piece in pieces)
        if size < WORTH_SHARING or not self.shareable:
            for piece in pieces:
                self._move(piece)
            return
        pieces.sort(key=lambda piece: piece.to - piece.at, reverse=True)  # no long one last
        for longest in {piece.bucket.dtype: piece for piece in reversed(pieces)}.values():
            for thread in range(len(self._workspaces)):  # room for it, whoever gets it
                self._rows(longest.bucket, longest.to - longest.at, thread)
        share(pieces, self._move, len(self._workspaces))


class Members(Moves):
    """Brings the parameters of a bucket together, or takes one of them where it stands."""

    def _update_together(self, group: Any, bucket: Bucket, grads: list[Any]) -> None:
        """One call of `update` for all members of `bucket`: gather them, update, put them back."""
        params = [group["params"][i] for i in bucket.members]
        size = bucket.offsets[-1]
        *_, p, g = self._rows(bucket, size)
        np.concatenate([q.data.reshape(-1) for q in params], out=p, casting="unsafe")
        np.concatenate([grad.reshape(-1) for grad in grads], out=g, casting="unsafe")
        bucket.steps = [t + 1 for t in bucket.steps]
        for piece in self._pieces(group, bucket, 0, p, g, bucket.steps[0]):
            self._move(piece)
        for k, q in enumerate(params):
            put_back(q, p[bucket.offsets[k] : bucket.offsets[k + 1]])

    def _update_alone(
        self, group: Any, bucket: Bucket, k: int, grad: Array
    ) -> Iterator[Piece]:
        """The pieces of member `k` of `bucket`, unless it is updated at once.

        That is so if it or its gradient is copied, for gaps in its memory or another dtype: there
        is room for one copy only.
        """
        q = group["params"][bucket.members[k]]
        in_place = flat_or_none(q.data, bucket.dtype)
        p = self._copy(q.data, bucket.dtype, 0) if in_place is None else in_place
        plain = flat_or_none(grad, bucket.dtype)
        g = self._copy(grad, bucket.dtype, 1) if plain is None else plain
        bucket.steps[k] += 1
        pieces = self._pieces(group, bucket, k, p, g, bucket.steps[k])
        if p is in_place and g is plain:
            yield from pieces
            return
        for piece in pieces:
            self._move(piece)
        if in_place is None:
            put_back(q, p)

    def _copy(self, array: Array, dtype: Any, i: int) -> Array:
        """`array` as one row of numbers, in the memory kept for copy 0 or 1."""
        row = self._copies.rows(dtype, 2, array.size)[i]
        np.copyto(row.reshape(array.shape), array, casting="unsafe")
        return row


class Ready(Members):
    """Checks all gradients of a group, and finds or makes the buckets of their parameters."""

    def _prepared(self, n: int, group: Any) -> tuple[Any, list[Bucket], dict[int, Array]]:
        """Group `n`, its buckets, and position -> gradient for the parameters that have one."""
        owner, params = type(self).__name__, group["params"]
        grads = {
            i: checked_gradient(owner, n, i, p) for i, p in enumerate(params) if p.grad is not None
        }
        buckets = self._buckets[n]
        names, packed = self.state_names(group), group.get("state_dtype") is not None
        same = [b.fits(owner, params) and suits(b, names, packed) for b in buckets]
        if not all(same):  # p.data has another dtype, or an option was changed
            states = {i: member_state(b, k) for b in buckets for k, i in enumerate(b.members)}
            buckets = self._buckets[n] = self.filled_buckets(group, states)
        if new := grads.keys() - {i for bucket in buckets for i in bucket.members}:
            buckets.extend(self.new_buckets(group, sorted(new)))
        return group, buckets, grads


class Optimizer(Ready):
    """Base of all optimizers: `step` hands blocks of parameters and gradients to `update`.

    A new optimizer says in `options` how its hyper-parameters are checked, in `state_names` what it
    remembers of each parameter, and in `update` how one block of numbers moves. `params` is an
    iterable of Tensors, or of groups: dicts with ``params`` and options that differ from the dict
    `defaults`. Raises TypeError or ValueError if there is no parameter, one comes twice, is no
    Tensor or no leaf, or an option is bad.
    """

    def step(self) -> None:
        """Update every parameter that has a gradient; the others and their states stay as they are.

        The arrays of the parameters are changed in place. All gradients are checked before
        anything is changed. A NaN in a gradient goes on into its parameter, as in PyTorch, except
        under `detect_anomaly`, which raises RuntimeError.
        """
        ready = [self._prepared(n, group) for n, group in enumerate(self.param_groups)]
        for pieces in batched(self._updated(ready)):
            self._move_all(pieces)

    def _updated(self, ready: list[Any]) -> Iterator[Piece]:
        """Update what is small or must be copied at once; the pieces of the others."""
        for group, buckets, grads in ready:
            for bucket in buckets:
                found = [grads.get(i) for i in bucket.members]
                complete = all(g is not None for g in found)
                if len(found) > 1 and complete and len(set(bucket.steps)) == 1:
                    self._update_together(group, bucket, found)
                    continue
                for k, g in enumerate(found):
                    if g is not None:
                        yield from self._update_alone(group, bucket, k, g)

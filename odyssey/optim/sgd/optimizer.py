"""The step that all optimizers share: blocks of parameters and gradients, handed to `update`."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ...autograd import Tensor
from ...autograd.tape.entry import Array
from .bucket import BLOCK, Bucket, flat_or_none
from .checks import checked_gradient
from .states import States, member_state


class Workspace:
    """Rows of numbers to work in, made once and kept: a step allocates nothing that grows."""

    def __init__(self) -> None:
        self._rows: dict[Any, Array] = {}

    def rows(self, dtype: Any, count: int, length: int) -> list[Array]:
        """`count` arrays of `length` numbers of `dtype`; what they hold is left from last time."""
        rows = self._rows.get(dtype)
        if rows is None or rows.shape[0] < count or rows.shape[1] < length:
            longest = length if rows is None else max(length, rows.shape[1])
            rows = self._rows[dtype] = np.empty((count, longest), dtype)
        return [row[:length] for row in rows[:count]]

    def __reduce__(self) -> Any:
        return Workspace, ()  # a copy of an optimizer makes its own


def put_back(p: Tensor, values: Array) -> None:
    """Write the flat `values` into the array of `p`, or a new one if that is read-only."""
    try:
        p.data[...] = values.reshape(p.shape)
    except ValueError:
        p.data = values.reshape(p.shape).astype(p.dtype)


class Blocks(States):
    """Cuts flat parameters, gradients and states into blocks, and hands each to `update`."""

    work_arrays: ClassVar[int] = 2  # how many arrays to work in `update` is given

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self._workspace = Workspace()
        super().__init__(params, defaults)

    def update(
        self, p: Array, g: Array, state: list[Array], work: list[Array], t: int, group: Any
    ) -> None:
        """Change the block `p` of parameters, and its `state`, in place.

        `g` is the gradient and must not be changed; `work` holds arrays to work in; `t` counts the
        steps of these parameters from 1; `group` has the options. All arrays have one shape.
        """
        raise NotImplementedError(f"{type(self).__name__}: define update")

    def _run(self, group: Any, bucket: Bucket, k: int, p: Array, g: Array, t: int) -> None:
        """Step `t` of the flat parameters `p`, which begin with member `k` of `bucket`."""
        length = max(p.size, 1) if self.layerwise else BLOCK
        rows = self._rows(bucket, min(p.size, length))
        states, spare = list(bucket.states.values()), rows[self.work_arrays :]
        for start in range(0, p.size, length):
            stop = min(p.size, start + length)
            at, to, n = bucket.offsets[k] + start, bucket.offsets[k] + stop, stop - start
            state = [s.read(at, to, row[:n]) for s, row in zip(states, spare, strict=False)]
            work = [row[:n] for row in rows[: self.work_arrays]]
            x, dx = p[start:stop], g[start:stop]
            if self.layerwise:
                shape = bucket.shapes[k]
                state, work = [a.reshape(shape) for a in state], [a.reshape(shape) for a in work]
                x, dx = x.reshape(shape), dx.reshape(shape)
            self.update(x, dx, state, work, t, group)
            for s, values in zip(states, state, strict=True):
                if s.packed:
                    s.write(at, to, values, t)

    def _rows(self, bucket: Bucket, length: int) -> list[Array]:
        """Rows to work in, then rows for gathering or unpacking."""
        count = self.work_arrays + max(2, len(bucket.states))
        return self._workspace.rows(bucket.dtype, count, length)


class Members(Blocks):
    """Brings the parameters of a bucket together, or takes one of them where it stands."""

    def _update_together(self, group: Any, bucket: Bucket, grads: list[Any]) -> None:
        """One call of `update` for all members of `bucket`: gather them, update, put them back."""
        params = [group["params"][i] for i in bucket.members]
        size = bucket.offsets[-1]
        *_, p, g = self._rows(bucket, size)
        np.concatenate([q.data.reshape(-1) for q in params], out=p, casting="unsafe")
        np.concatenate([grad.reshape(-1) for grad in grads], out=g, casting="unsafe")
        bucket.steps = [t + 1 for t in bucket.steps]
        self._run(group, bucket, 0, p, g, bucket.steps[0])
        for k, q in enumerate(params):
            put_back(q, p[bucket.offsets[k] : bucket.offsets[k + 1]])

    def _update_alone(self, group: Any, bucket: Bucket, k: int, grad: Array) -> None:
        """Update member `k` of `bucket`, where it stands if its memory has no gaps."""
        q = group["params"][bucket.members[k]]
        in_place = flat_or_none(q.data, bucket.dtype)
        p = np.array(q.data, bucket.dtype, order="C").reshape(-1) if in_place is None else in_place
        g = np.ascontiguousarray(grad, bucket.dtype).reshape(-1)
        bucket.steps[k] += 1
        self._run(group, bucket, k, p, g, bucket.steps[k])
        if in_place is None:
            put_back(q, p)


class Optimizer(Members):
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
        for group, buckets, grads in ready:
            for bucket in buckets:
                found = [grads.get(i) for i in bucket.members]
                complete = all(g is not None for g in found)
                if len(found) > 1 and complete and len(set(bucket.steps)) == 1:
                    self._update_together(group, bucket, found)
                    continue
                for k, g in enumerate(found):
                    if g is not None:
                        self._update_alone(group, bucket, k, g)

    def _prepared(self, n: int, group: Any) -> tuple[Any, list[Bucket], dict[int, Array]]:
        """Group `n`, its buckets, and position -> gradient for the parameters that have one."""
        owner, params = type(self).__name__, group["params"]
        grads = {
            i: checked_gradient(owner, n, i, p) for i, p in enumerate(params) if p.grad is not None
        }
        buckets = self._buckets[n]
        if any(not bucket.fits(owner, params) for bucket in buckets):  # p.data has another dtype
            states = {i: member_state(b, k) for b in buckets for k, i in enumerate(b.members)}
            buckets = self._buckets[n] = self.filled_buckets(group, states)
        if new := grads.keys() - {i for bucket in buckets for i in bucket.members}:
            buckets.extend(self.new_buckets(group, sorted(new)))
        return group, buckets, grads

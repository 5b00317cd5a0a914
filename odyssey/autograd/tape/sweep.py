"""The backward sweep: the chain rule, applied to the tape from its last entry to its first."""

from __future__ import annotations

import threading
from operator import itemgetter
from typing import Any

import numpy as np
from numpy import ndarray

from .anomaly import check_finite
from .entry import DTYPE, GRADIENT, INDEX, NAME, PARENTS, SAVED, SHAPE, VJP, Array, Entry, mode

# Names of primitives whose vjps have stood the checks of a whole sweep. While a tape holds others,
# nothing on it is let go before the sweep has succeeded: after an error it is as it was.
proven: set[str] = set()

# Threads that sweep different tapes may meet at the same leaves: one at a time adds its gradients.
_at_leaves = threading.Lock()


def unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """Sum `g` over the axes along which broadcasting repeated an array of `shape`.

    Broadcasting copies an entry to many places, so its gradient is the sum of theirs: the
    transpose of a matrix of ones.

    Parameters
    ----------
    g : ndarray
        Gradient of the broadcast result.
    shape : tuple of int
        Shape before broadcasting. It must broadcast to ``g.shape``.

    Returns
    -------
    ndarray of `shape`, dtype of `g`. `g` itself if nothing was repeated.
    """
    if g.shape == shape:
        return g
    new_axes = g.ndim - len(shape)
    repeated = tuple(
        i + new_axes for i, n in enumerate(shape) if n == 1 and g.shape[i + new_axes] != 1
    )
    return np.asarray(g.sum(axis=(*range(new_axes), *repeated))).reshape(shape)


def collect(root: Entry) -> list[Entry]:
    """All entries that `root` depends on, itself included, oldest first.

    Raises RuntimeError if one of them was used up by an earlier backward. Nothing is changed.
    """
    found = {root[INDEX]: root}
    waiting = [root]
    while waiting:
        entry = waiting.pop()
        if entry[VJP] is None:
            raise RuntimeError(
                f"backward: the tape was already used up at {entry[NAME]!r} (shape {entry[SHAPE]})"
                f"; call the first backward with retain_tape=True, or compute the loss again"
            )
        for parent in entry[PARENTS]:
            if type(parent) is list and parent[INDEX] not in found:
                found[parent[INDEX]] = parent
                waiting.append(parent)
    # Recording order is a valid order whatever the graph: an input exists before its result.
    return sorted(found.values(), key=itemgetter(INDEX))


def sweep(root: Entry, g: Array, retain_tape: bool) -> None:
    """Send the gradient `g` of `root` back to every leaf and add it to ``leaf.grad``.

    Each entry is emptied as soon as it is used, unless `retain_tape` or a vjp is still to be
    `proven`. The leaves change only after the whole sweep has succeeded.
    """
    order = collect(root)
    check_leaves(order)
    names = {entry[NAME] for entry in order}
    keep = list(order) if retain_tape or mode.anomaly or not names <= proven else []
    leaves: dict[int, Any] = {}
    try:
        root[GRADIENT] = g
        send_back(order, leaves, bool(keep), mode.anomaly)
        with _at_leaves:
            totals = [(leaf, total(leaf, grad)) for leaf, grad in leaves.values()]
            for leaf, grad in totals:
                leaf.grad = grad
    except BaseException:
        for entry in order:
            entry[GRADIENT] = None
        raise
    proven.update(names)
    if not retain_tape:
        for entry in keep:
            entry[VJP:PARENTS] = None, None
            entry[PARENTS] = ()


def check_grad(leaf: Any) -> None:
    """Raise ValueError if nothing can be added to ``leaf.grad``, because it has another shape."""
    if leaf.grad is not None and np.shape(leaf.grad) != leaf.shape:
        got = f"a leaf of shape {leaf.shape} has a grad of shape {np.shape(leaf.grad)}"
        raise ValueError(f"backward: {got}; clear it")


def check_leaves(order: list[Entry]) -> None:
    """`check_grad` of every leaf, before anything has changed."""
    for entry in order:
        for parent in entry[PARENTS]:
            if type(parent) is not list and parent is not None:
                check_grad(parent)


def send_back(order: list[Entry], leaves: dict[int, Any], keep: bool, anomaly: bool) -> None:
    """Take the entries from the end of `order`; hand each one's gradient to its inputs."""
    try:
        while order:
            entry = order.pop()
            _, name, vjp, saved, parents, _, _, g = entry
            entry[GRADIENT] = None
            if not keep:  # from here on only this function holds what the entry held
                entry[VJP] = entry[SAVED] = None
                entry[PARENTS] = ()
            # One function for all inputs, or one for each: then only those that are needed run.
            results = vjp if type(vjp) is tuple else vjp(g) if saved is None else vjp(g, saved)
            if type(results) is not tuple or len(results) != len(parents):
                raise wrong_count(entry, results, len(parents))
            for parent, grad in zip(parents, results):  # noqa: B905 (strict costs 3 % of a sweep)
                if parent is None:
                    continue
                if results is vjp:
                    grad = grad(g) if saved is None else grad(g, saved)
                if type(parent) is list:
                    if (
                        type(grad) is not ndarray
                        or grad.dtype is not parent[DTYPE]
                        or grad.shape != parent[SHAPE]
                    ):
                        grad = conform(entry, grad, parent[SHAPE], parent[DTYPE])
                    # Fan-out: contributions add, into a new array, because `grad` may be shared.
                    parent[GRADIENT] = grad if parent[GRADIENT] is None else parent[GRADIENT] + grad
                elif id(parent) in leaves:
                    leaves[id(parent)][1] += conform(entry, grad, parent.shape, parent.dtype)
                else:
                    grad = conform(entry, grad, parent.shape, parent.dtype)
                    leaves[id(parent)] = [parent, own(grad, g, results)]
                if anomaly:
                    check_finite(name, "backward", (g,), grad)
    except Exception as error:
        error.add_note(f"{name}: this happened in its backward pass")
        raise


def total(leaf: Any, grad: Array) -> Array:
    """What ``leaf.grad`` becomes: gradients accumulate over several backward calls."""
    if leaf.grad is None:
        return grad
    check_grad(leaf)
    return np.asarray(leaf.grad + grad, leaf.dtype)


def own(grad: Any, g: Array, results: tuple[Any, ...]) -> Array:
    """`grad` itself if it is a fresh array, else a copy: a leaf must not share its gradient.

    What a vjp returns may be `g`, a view of something, or one array for two inputs.
    """
    alone = grad is not g and sum(result is grad for result in results) < 2
    if alone and type(grad) is ndarray and grad.base is None:
        return grad
    return np.array(grad)


def conform(entry: Entry, grad: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """`grad`, returned by the vjp of `entry`, un-broadcast to `shape` and cast to `dtype`.

    Raises TypeError, naming the primitive, if it cannot be the gradient of that input.
    """
    if isinstance(grad, np.generic):
        grad = np.asarray(grad)  # NumPy turns 0-d arrays into scalars
    problem = ""
    if not isinstance(grad, ndarray):
        problem = f"{type(grad).__name__}; return an array"
    elif grad.shape != shape:
        # Broadcasting alone explains a larger gradient; then it has the shape of the result.
        if grad.shape == entry[SHAPE] and broadcasts(shape, grad.shape):
            grad = unbroadcast(grad, shape)
        else:
            problem = f"shape {grad.shape}; look for a missing sum, reshape or transpose"
    if not problem and grad.dtype != dtype:
        # Operands of mixed dtypes make a wider result. Anything else was upcast by a constant.
        if grad.dtype == entry[DTYPE]:
            grad = grad.astype(dtype)
        else:
            problem = f"dtype {grad.dtype}; look for a constant that upcasts"
    if problem:
        raise TypeError(
            f"{entry[NAME]}: its vjp must return a gradient of shape {shape} and dtype {dtype}, "
            f"got {problem}"
        )
    return grad


def broadcasts(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether an array of `shape` broadcasts to exactly `target`."""
    return len(shape) <= len(target) and all(
        n in (1, m) for n, m in zip(reversed(shape), reversed(target), strict=False)
    )


def wrong_count(entry: Entry, results: Any, inputs: int) -> Exception:
    """The error for a vjp that did not return one gradient per input."""
    got = f"{len(results)} gradients" if type(results) is tuple else type(results).__name__
    return TypeError(
        f"{entry[NAME]}: its vjp must return a tuple with one gradient for each of its {inputs} "
        f"inputs, got {got}"
    )

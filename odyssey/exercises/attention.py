"""Checks for the exercises of the chapter attention."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np

from ._check import NotYet, exercise


def _softmax(s: Any, axis: int = -1) -> Any:
    top = s.max(axis=axis, keepdims=True)
    p = np.exp(s - np.where(np.isneginf(top), 0, top))
    total = p.sum(axis=axis, keepdims=True)
    return p / np.where(total == 0, 1, total)


def _array(got: Any, shape: tuple[int, ...], what: str) -> Any:
    """`got` as an array of `shape`, or a hint."""
    if got is None:
        raise NotYet(f"your function returns nothing; return {what}")
    got = np.asarray(got, dtype=float)
    if got.shape != shape:
        raise NotYet(f"expected an array of shape {shape}, got {got.shape}")
    return got


def _unchanged(given: Any, kept: Any) -> None:
    if any(not np.array_equal(a, b) for a, b in zip(given, kept, strict=True)):
        raise NotYet("an array that you were given has changed; compute into a new one")


# ---- attention with a mask ----


def _attention(q: Any, k: Any, v: Any, mask: Any, mistake: str = "") -> Any:
    """Attention in a few lines; `mistake` names a known wrong turn."""
    d = q.shape[-1]
    scale = {"no scale": 1, "d": 1 / d, "times": sqrt(d), "length": 1 / sqrt(len(k))}.get(mistake, 1 / sqrt(d))
    s = q @ k.T * scale
    if mistake == "inverted":
        mask = ~mask
    if mistake == "after":
        return (_softmax(s) * mask) @ v
    if mistake == "zero":
        return _softmax(s * mask) @ v
    if mistake == "none":
        return _softmax(s) @ v
    s = np.where(mask, s, -np.inf)
    return _softmax(s, 0 if mistake == "axis" else -1) @ v


MASKED = {
    "no scale": "the scores are not scaled; divide them by the root of d",
    "d": "the scores are divided by d; divide by its root, the standard deviation of a score",
    "times": "the scores are multiplied by the root of d; divide by it",
    "length": "the scores are divided by the root of the number of keys; d is the length of one key",
    "axis": "the softmax runs over the queries; the weights of one query, a row, must sum to 1",
    "after": "the mask comes after the softmax, so the weights that are left do not sum to 1; set the scores to -inf",
    "zero": "a score of 0 is not a weight of 0: exp(0) = 1; set the scores to -inf",
    "none": "the mask is not used",
    "inverted": "the mask is read the other way round: True means that the query may attend",
}


@exercise
def check_attention(answer: Callable[..., Any]) -> str:
    """`answer(q, k, v, mask)`: (Tq, d), (Tk, d), (Tk, dv), (Tq, Tk) → (Tq, dv)."""
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(3, 4)), rng.normal(size=(5, 4)), rng.normal(size=(5, 2))
    mask = np.array([[1, 1, 0, 1, 0], [1, 0, 1, 1, 1], [0, 1, 0, 1, 1]], bool)
    given: list[Any] = [q, k, v, mask]
    kept: list[Any] = [a.copy() for a in given]
    with np.errstate(all="ignore"):
        got = _array(answer(*given), (3, 2), "the outputs, one row for each query")
        _unchanged(given, kept)
        for mistake, hint in MASKED.items():
            if np.allclose(got, _attention(q, k, v, mask, mistake), rtol=1e-7):
                raise NotYet(hint)
        expected = _attention(q, k, v, mask)
        if not np.allclose(got, expected, rtol=1e-7):
            raise NotYet(f"expected {expected.round(4).tolist()}, got {got.round(4).tolist()}")
        if not np.isfinite(answer(1e3 * q, 1e3 * k, v, mask)).all():
            raise NotYet("scores of a million overflow; subtract the largest score of each row before the exponential")
        blind = mask.copy()
        blind[1] = False
        got = np.asarray(answer(q, k, v, blind), dtype=float)
    if np.isnan(got[1]).any():
        raise NotYet("a query that may attend to nothing gives NaN; let it give zeros")
    if not np.allclose(got, _attention(q, k, v, blind), rtol=1e-7):
        raise NotYet("a query that may attend to nothing should give zeros, and leave the other rows alone")
    return "scaled, masked before the softmax, and safe."


# ---- heads ----


@exercise
def check_heads(answer: Callable[..., Any]) -> str:
    """`answer(x, h)`: (N, T, E) → (N, h, T, E / h)."""
    x, h = np.arange(2 * 3 * 8.0).reshape(2, 3, 8), 4
    kept = x.copy()
    got = answer(x, h)
    if np.shape(got) == (2, 3, 4, 2):
        raise NotYet("the heads stand behind the positions; swap axes 1 and 2, each head has its own (T, E / h)")
    got = _array(got, (2, 4, 3, 2), "the heads, an array of shape (N, h, T, E / h)")
    _unchanged([x], [kept])
    if np.array_equal(got, x.reshape(2, 4, 3, 2)):
        raise NotYet("a reshape alone mixes the positions: head 0 gets features of position 0 only; "
                     "reshape to (N, T, h, E / h) first, then swap axes 1 and 2")  # fmt: skip
    if np.array_equal(got, x.reshape(2, 3, 2, 4).transpose(0, 3, 1, 2)):
        raise NotYet("head 0 gets every fourth feature; the shares lie next to one another, head 0 has 0 and 1")
    if not np.array_equal(got, x.reshape(2, 3, 4, 2).swapaxes(1, 2)):
        raise NotYet(f"head 0 of position 0 should be {x[0, 0, :2]}, got {got[0, 0, 0]}; head 3 of position 2 "
                     f"should be {x[0, 2, 6:]}, got {got[0, 3, 2]}")  # fmt: skip
    return "every head sees all positions, and its own features."


# ---- the gradient of the scores ----


def _scores(p: Any, dp: Any, mistake: str = "") -> Any:
    if mistake == "elementwise":
        return p * dp
    if mistake == "diagonal":
        return p * (1 - p) * dp
    if mistake == "no weights":
        return p * (dp - dp.sum(axis=-1, keepdims=True))
    if mistake == "mean":
        return p * (dp - dp.mean(axis=-1, keepdims=True))
    if mistake == "columns":
        return p * (dp - (dp * p).sum(axis=0, keepdims=True))
    if mistake == "all":
        return p * (dp - (dp * p).sum())
    if mistake == "outside":
        return dp - (dp * p).sum(axis=-1, keepdims=True)
    if mistake == "sign":
        return p * ((dp * p).sum(axis=-1, keepdims=True) - dp)
    return p * (dp - (dp * p).sum(axis=-1, keepdims=True))


SCORES = {
    "elementwise": "the normalisation is forgotten: a larger score also takes from all other weights of its row",
    "diagonal": "these are the diagonal entries of the Jacobian alone; P_ij also depends on the other scores of row i",
    "no weights": "the row sum is that of dP * P, not of dP",
    "mean": "the mean must be weighted with P; a plain mean is right only if all weights are equal",
    "columns": "the sum runs over the queries; sum over the keys, the last axis",
    "all": "the sum runs over the whole matrix; each row has its own",
    "outside": "the factor P in front is missing",
    "sign": "the sign is wrong: a score whose weight the loss wants larger must have a negative gradient too",
}


@exercise
def check_scores(answer: Callable[..., Any]) -> str:
    """`answer(P, dP)`: the gradient with respect to the scores, from the weights and their gradient."""
    rng = np.random.default_rng(1)
    p, dp = _softmax(rng.normal(size=(3, 4))), rng.normal(size=(3, 4))
    given = [p, dp]
    kept: list[Any] = [p.copy(), dp.copy()]
    got = _array(answer(*given), (3, 4), "dS")
    _unchanged(given, kept)
    for mistake, hint in SCORES.items():
        if np.allclose(got, _scores(p, dp, mistake), rtol=1e-9):
            raise NotYet(hint)
    expected = _scores(p, dp)
    if not np.allclose(got, expected, rtol=1e-9):
        raise NotYet(f"row 0 should be {expected[0].round(5)}, got {got[0].round(5)}")
    return "each row of dS sums to zero, because a softmax does not see what all scores have in common."


# ---- two blocks ----


def _merge(a: Any, b: Any, mistake: str = "") -> Any:
    (m1, l1, o1), (m2, l2, o2) = a, b
    m = np.maximum(m1, m2)
    w1, w2 = np.exp(m1 - m), np.exp(m2 - m)
    if mistake == "unscaled":
        w1, w2 = np.ones_like(m), np.ones_like(m)
    if mistake == "inverse":
        w1, w2 = 1 / w1, 1 / w2
    total = l1 * w1 + l2 * w2
    if mistake == "outputs":
        return m, total, o1 + o2
    if mistake == "divided":
        return m, total, (o1 * w1[:, None] + o2 * w2[:, None]) / total[:, None]
    if mistake == "sums":
        return m, l1 + l2, o1 * w1[:, None] + o2 * w2[:, None]
    return m, total, o1 * w1[:, None] + o2 * w2[:, None]


MERGES = {
    "unscaled": "the sums of both blocks refer to different maxima; multiply each by exp(its maximum - the new one)",
    "inverse": "the factors are upside down: the sums of the block with the smaller maximum must shrink",
    "outputs": "the outputs are not rescaled; they need the same factors as the sums of the weights",
    "sums": "the sums of the weights are not rescaled; they need the same factors as the outputs",
    "divided": "the division by the sum comes once, after the last block; return the undivided sum",
}


@exercise
def check_merge(answer: Callable[..., Any]) -> str:
    """`answer(a, b)`: each is (m, l, o) of one block of keys, as is the result."""
    rng = np.random.default_rng(2)
    s, v = 2 * rng.normal(size=(3, 7)), rng.normal(size=(7, 2))
    s[:, 4] += [3, 0, -3]

    def block(keys: slice, shift: float = 0.0) -> Any:
        part = s[:, keys] + shift
        m = part.max(axis=1)
        p = np.exp(part - m[:, None])
        return m, p.sum(axis=1), p @ v[keys]

    a, b = block(slice(0, 4)), block(slice(4, 7))
    given, kept = [*a, *b], [x.copy() for x in (*a, *b)]
    got = answer(a, b)
    if got is None:
        raise NotYet("your function returns nothing; return (m, l, o)")
    if len(got) != 3:
        raise NotYet(f"return three arrays, (m, l, o), not {len(got)}")
    got = [_array(x, y.shape, "(m, l, o)") for x, y in zip(got, a, strict=True)]
    _unchanged(given, kept)
    for mistake, hint in MERGES.items():
        wrong = _merge(a, b, mistake)
        if all(np.allclose(x, y, rtol=1e-9) for x, y in zip(got, wrong, strict=True)):
            raise NotYet(hint)
    ratio, expected = got[2] / got[1][:, None], _softmax(s) @ v
    if not np.allclose(ratio, expected, rtol=1e-9):
        raise NotYet(f"o / l of row 0 should be {expected[0].round(4)}, got {ratio[0].round(4)}")
    with np.errstate(all="ignore"):
        far = answer(block(slice(0, 4), 2000.0), block(slice(4, 7)))
    if not all(np.isfinite(x).all() for x in far):
        raise NotYet("with scores of 2000 it overflows; exponentials may only see differences from the larger maximum")
    return "blocks may come in any order and size, and nothing overflows."

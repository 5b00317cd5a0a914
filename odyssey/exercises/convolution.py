"""Checks for the exercises of the chapter convolution."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import ceil
from typing import Any

import numpy as np

from ._check import NotYet, exercise

# ---- how long is the result? ----

LENGTH_MISTAKES: dict[str, Callable[..., float]] = {
    "the last place counts too: one more than the number of steps": lambda n, k, s, p, d: (
        (n + 2 * p - d * (k - 1) - 1) // s
    ),
    "you left the dilation out: a kernel of k elements with dilation d spans d (k - 1) + 1": lambda n, k, s, p, d: (
        (n + 2 * p - k) // s + 1
    ),
    "a kernel of k elements with dilation d spans d (k - 1) + 1, not d k": lambda n, k, s, p, d: (
        (n + 2 * p - d * k) // s + 1
    ),
    "the padding stands on both sides": lambda n, k, s, p, d: (n + p - d * (k - 1) - 1) // s + 1,
    "you left the padding out": lambda n, k, s, p, d: (n - d * (k - 1) - 1) // s + 1,
    "you left the stride out": lambda n, k, s, p, d: n + 2 * p - d * (k - 1),
    "a last step that does not fit is not taken: round down": lambda n, k, s, p, d: (
        ceil((n + 2 * p - d * (k - 1) - 1) / s) + 1
    ),
    "divide only the way between the first place and the last by the stride, then add 1": lambda n, k, s, p, d: (
        (n + 2 * p - d * (k - 1)) // s
    ),
}


@exercise
def check_length(answer: Callable[..., Any]) -> str:
    """`answer(n, kernel, stride, padding, dilation)`: the number of places of a kernel along an axis."""
    cases = product((9, 12, 28), (1, 2, 3, 5), (1, 2, 3), (0, 1), (1, 2))
    fits = [case for case in cases if case[0] + 2 * case[3] > case[4] * (case[1] - 1)]
    found = [answer(*case) for case in fits]
    if any(got is None for got in found):
        raise NotYet("your function returns nothing")
    if any(np.ndim(got) or (isinstance(got, float) and not got.is_integer()) for got in found):
        raise NotYet("a number of places is a whole number; use // for the division")
    true = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in fits]
    if [int(got) for got in found] == true:
        return "for 28 pixels, a kernel of 3, padding 1 and stride 2 it is 14."
    for words, mistake in LENGTH_MISTAKES.items():
        if [int(got) for got in found] == [int(mistake(*case)) for case in fits]:
            raise NotYet(words)
    case, got, expected = next(three for three in zip(fits, found, true, strict=True) if three[1] != three[2])
    n, k, s, p, d = case
    raise NotYet(f"for n = {n}, kernel {k}, stride {s}, padding {p}, dilation {d} it is {expected}, you say {got}")


# ---- the gradients ----


def _correlate(x: Any, w: Any) -> Any:
    h, v = x.shape[0] - w.shape[0] + 1, x.shape[1] - w.shape[1] + 1
    return sum(w[i, j] * x[i : i + h, j : j + v] for i, j in np.ndindex(w.shape))


def _spread(g: Any, w: Any) -> Any:
    out = np.zeros((g.shape[0] + w.shape[0] - 1, g.shape[1] + w.shape[1] - 1))
    for i, j in np.ndindex(w.shape):
        out[i : i + g.shape[0], j : j + g.shape[1]] += w[i, j] * g
    return out


def _overwritten(g: Any, w: Any) -> tuple[Any, Any]:
    """`_spread` with = in the place of +=, in a loop over the places and in one over the offsets."""
    places, offsets = _spread(0 * g, w), _spread(0 * g, w)
    for i, j in np.ndindex(g.shape):
        places[i : i + w.shape[0], j : j + w.shape[1]] = g[i, j] * w
    for i, j in np.ndindex(w.shape):
        offsets[i : i + g.shape[0], j : j + g.shape[1]] = w[i, j] * g
    return places, offsets


def _equal(a: Any, b: Any) -> bool:
    return np.shape(a) == np.shape(b) and np.allclose(a, b)


@exercise
def check_gradients(answer: Callable[..., Any]) -> str:
    """`answer(x, w, g)`: dx and dw of a correlation of one image (H, W) with one kernel, without padding."""
    rng = np.random.default_rng(0)
    for shape, kernel in (((5, 6), (2, 3)), ((4, 4), (3, 3)), ((3, 7), (1, 2))):
        x, w = rng.normal(size=shape), rng.normal(size=kernel)
        g = rng.normal(size=(shape[0] - kernel[0] + 1, shape[1] - kernel[1] + 1))
        given = x.copy(), w.copy(), g.copy()
        got = answer(*given)
        if got is None:
            raise NotYet("your function returns nothing; return dx, dw")
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise NotYet("return two arrays, dx and dw")
        if not all(np.array_equal(a, b) for a, b in zip(given, (x, w, g), strict=True)):
            raise NotYet("your function has changed its inputs; make new arrays")
        dx, dw = got
        true_x, true_w = _spread(g, w), _correlate(x, g)
        if _equal(dx, true_w) and _equal(dw, true_x):
            raise NotYet("the two are swapped: first dx, then dw")
        if np.shape(dw) != w.shape:
            raise NotYet(f"dw must have the shape of w, {w.shape}, got {np.shape(dw)}")
        if not _equal(dw, true_w):
            if _equal(dw, true_w[::-1, ::-1]) or _equal(dw, _correlate(x, g[::-1, ::-1])):
                raise NotYet("dw is flipped: weight (i, j) met x[y + i, x + j] wherever g[y, x] stands; nothing turns")
            if _equal(dw, true_w / g.size):
                raise NotYet("dw is the sum over all places of the kernel, not their mean")
            raise NotYet(f"dw[0, 0] should be the sum of g[y, x] x[y, x], {true_w[0, 0]:.4g}, got {dw[0][0]:.4g}")
        if np.shape(dx) != x.shape:
            raise NotYet(f"dx must have the shape of x, {x.shape}, got {np.shape(dx)}; g needs a border of zeros, or "
                         f"dx starts as zeros of the shape of x and each g[y, x] adds a window to it")  # fmt: skip
        if not _equal(dx, true_x):
            if _equal(dx, _spread(g, w[::-1, ::-1])):
                raise NotYet("for dx the kernel is the wrong way round: a correlation of the padded g needs the "
                             "flipped kernel, adding windows to dx needs it as it is")  # fmt: skip
            if any(_equal(dx, last) for last in _overwritten(g, w)):
                raise NotYet("windows overlap, and what arrives at a pixel adds up: += instead of =")
            i, j = np.argwhere(~np.isclose(dx, true_x))[0]
            raise NotYet(f"dx[{i}, {j}] should be {true_x[i, j]:.4g}, got {dx[i][j]:.4g}; each place (u, v) that saw "
                         f"the pixel adds g[u, v] w[{i} - u, {j} - v]")  # fmt: skip
    return "the kernel's gradient is a correlation of x with g, the image's one of g with the flipped kernel."


# ---- what it costs ----

COST_MISTAKES: dict[str, Callable[..., tuple[int, int]]] = {
    "a kernel of k × k has k² elements": lambda c, o, k, h, w: (k * c * o * h * w, (k * c + c * o) * h * w),
    "you counted the weights; each is used once for each pixel of the result": lambda c, o, k, h, w: (
        k * k * c * o,
        k * k * c + c * o,
    ),
    "the separable one misses the 1 × 1 convolution, which mixes the channels": lambda c, o, k, h, w: (
        k * k * c * o * h * w,
        k * k * c * h * w,
    ),
    "the separable one misses the depthwise kernels": lambda c, o, k, h, w: (k * k * c * o * h * w, c * o * h * w),
    "the depthwise half has one kernel for each *input* channel": lambda c, o, k, h, w: (
        k * k * c * o * h * w,
        (k * k * o + c * o) * h * w,
    ),
    "the two halves follow each other: their costs add": lambda c, o, k, h, w: (
        k * k * c * o * h * w,
        k * k * c * c * o * h * w,
    ),
    "the two are swapped: first the dense, then the separable one": lambda c, o, k, h, w: (
        (k * k * c + c * o) * h * w,
        k * k * c * o * h * w,
    ),
    "a multiply-add counts as one, not as two": lambda c, o, k, h, w: (
        2 * k * k * c * o * h * w,
        2 * (k * k * c + c * o) * h * w,
    ),
}


@exercise
def check_cost(answer: Callable[..., Any]) -> str:
    """`answer(C, O, k, H, W)`: multiply-adds for one image of a dense and of a separable k × k convolution."""
    cases = [(32, 64, 3, 14, 14), (16, 8, 5, 7, 9), (3, 4, 2, 5, 6)]
    found = [answer(*case) for case in cases]
    if any(got is None for got in found):
        raise NotYet("your function returns nothing")
    if any(np.shape(got) != (2,) for got in found):
        raise NotYet("return two numbers, dense and separable")
    true = [(k * k * c * o * h * w, (k * k * c + c * o) * h * w) for c, o, k, h, w in cases]
    for got, (dense, separable) in zip(found, true, strict=True):
        if tuple(map(int, got)) == (dense, separable):
            continue
        for words, mistake in COST_MISTAKES.items():
            if all(np.array_equal(a, mistake(*case)) for a, case in zip(found, cases, strict=True)):
                raise NotYet(words)
        c, o, k, h, w = cases[true.index((dense, separable))]
        which = "dense" if int(got[0]) != dense else "separable"
        expected, said = (dense, got[0]) if which == "dense" else (separable, got[1])
        raise NotYet(f"for {c} → {o} channels, k = {k} and {h} × {w} pixels the {which} one makes {expected:,} "
                     f"multiply-adds, you say {int(said):,}")  # fmt: skip
    return "for 32 → 64 channels and k = 3 the separable one needs an eighth."


# ---- a dense kernel made separable ----


def _separated(weight: Any) -> tuple[Any, Any]:
    o, c, *kernel = weight.shape
    u, s, v = np.linalg.svd(weight.swapaxes(0, 1).reshape(c, o, -1), full_matrices=False)
    return v[:, 0].reshape(c, 1, *kernel), (u[:, :, 0] * s[:, :1]).T.reshape(o, c, 1, 1)


@exercise
def check_separate(answer: Callable[..., Any]) -> str:
    """`answer(weight)`: depthwise (C, 1, kH, kW) and pointwise (O, C, 1, 1) whose product is closest to `weight`."""
    rng = np.random.default_rng(0)
    for o, c, kernel in ((6, 4, (3, 3)), (2, 3, (3, 2)), (5, 1, (2, 2))):
        depth, point = rng.normal(size=(c, 1, *kernel)), rng.normal(size=(o, c, 1, 1))
        exact = point * depth[:, 0]
        for weight in (exact + 0.3 * rng.normal(size=exact.shape), exact):
            given = weight.copy()
            got = answer(given)
            if got is None:
                raise NotYet("your function returns nothing; return depthwise, pointwise")
            if not isinstance(got, tuple | list) or len(got) != 2:
                raise NotYet("return two arrays, depthwise and pointwise")
            if not np.array_equal(given, weight):
                raise NotYet("your function has changed the weight; make new arrays")
            shapes = (c, 1, *kernel), (o, c, 1, 1)
            if tuple(map(np.shape, got)) == shapes[::-1]:
                raise NotYet("the two are swapped: first depthwise, then pointwise")
            for name, part, shape in zip(("depthwise", "pointwise"), got, shapes, strict=True):
                if np.shape(part) != shape:
                    raise NotYet(f"{name} must have the shape {shape}, got {np.shape(part)}")
            made = np.asarray(got[1]) * np.asarray(got[0])[:, 0]
            best = _separated(weight)[1] * _separated(weight)[0][:, 0]
            if np.allclose(made, best):
                continue
            mean = weight.mean(axis=(2, 3), keepdims=True) * weight.mean(axis=0)
            if np.allclose(_scaled(made, weight), _scaled(mean, weight)):
                raise NotYet("means are no good factors: kernels of opposite sign cancel; for each input channel take "
                             "the SVD of weight[:, c] as a matrix (O, kH · kW)")  # fmt: skip
            if np.allclose(_scaled(made, weight), best):
                raise NotYet("the directions are right, the size is not: multiply one of the two by the first "
                             "singular value (once)")  # fmt: skip
            if np.allclose(made[:, :1], best[:, :1]):
                raise NotYet("the first input channel is right, others are not; take an SVD for each input channel")
            error = float(np.sum((made - weight) ** 2) / np.sum(weight**2))
            least = float(np.sum((best - weight) ** 2) / np.sum(weight**2))
            raise NotYet(f"the product misses {error:.1%} of the squares of the weight, the best one {least:.1%}; for "
                         f"each input channel take the SVD of weight[:, c] as a matrix (O, kH · kW)")  # fmt: skip
    return "an input channel's kernels become multiples of one, the best in the sense of squares."


def _scaled(made: Any, weight: Any) -> Any:
    """Each input channel of `made` times the number that brings it closest to `weight`."""
    square = np.sum(made**2, axis=(0, 2, 3), keepdims=True)
    return made * np.sum(made * weight, axis=(0, 2, 3), keepdims=True) / np.where(square == 0, 1, square)

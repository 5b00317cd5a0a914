"""Checks for the exercises of the chapter normalization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._check import NotYet, exercise

GROUPS = 2


def _hat(x: Any, axes: tuple[int, ...]) -> Any:
    """Mean 0 and variance 1 over `axes`, without eps."""
    return (x - x.mean(axis=axes, keepdims=True)) / x.std(axis=axes, keepdims=True)


def _backward(g: Any, out: Any, sigma: Any, mistake: str = "") -> Any:
    """The gradient of the rows before the norm; `mistake` names a known wrong turn."""

    def mean(a: Any) -> Any:
        return a.mean(axis=1, keepdims=True)

    if mistake == "no projection":
        return g / sigma
    if mistake == "no mean":
        return (g - out * mean(g * out)) / sigma
    if mistake == "no length":
        return (g - mean(g)) / sigma
    if mistake == "sums":
        return (g - g.sum(axis=1, keepdims=True) - out * (g * out).sum(axis=1, keepdims=True)) / sigma
    if mistake == "plus":
        return (g - mean(g) + out * mean(g * out)) / sigma
    if mistake == "whole array":
        return (g - g.mean() - out * (g * out).mean()) / sigma
    right = g - mean(g) - out * mean(g * out)
    if mistake == "no sigma":
        return right
    if mistake == "times sigma":
        return right * sigma
    if mistake == "unbiased":
        n = g.shape[1]
        return (g - mean(g) - out * mean(g * out) * n / (n - 1)) / sigma
    return right / sigma


MISTAKES = {
    "no projection": "mean and sigma depend on x too; take away what g has along 1 and along out",
    "no mean": "mean(g) is missing: a shift of the whole row must have gradient zero",
    "no length": "out * mean(g * out) is missing: a stretch of the row must have gradient zero",
    "sums": "the two terms are means, not sums",
    "plus": "out * mean(g * out) is subtracted, not added",
    "whole array": "the means run over the whole array; take them along each row, with axis=1 and keepdims=True",
    "no sigma": "the projection is right; divide it by sigma",
    "times sigma": "the projection is right; divide it by sigma, do not multiply",
    "unbiased": "out has the variance 1 with n in the denominator, so its term has n too, not n - 1",
}


@exercise
def check_backward(answer: Callable[[Any, Any, Any], Any]) -> str:
    """`answer(g, out, sigma)`: the gradient of rows (R, n), from that of the normalised `out`; sigma (R, 1)."""
    rng = np.random.default_rng(0)
    for shape in ((3, 5), (2, 8)):
        x, g = rng.normal(1.0, 2.0, shape), rng.normal(size=shape)
        out, sigma = _hat(x, (1,)), x.std(axis=1, keepdims=True)
        given = g.copy()
        got = answer(given, out.copy(), sigma.copy())
        if got is None:
            raise NotYet("your function returns nothing")
        if not np.array_equal(given, g):
            raise NotYet("g was changed in place; it belongs to the tape, work on a new array")
        if np.shape(got) != shape:
            raise NotYet(f"expected the shape of g, {shape}, got {np.shape(got)}; keepdims=True?")
        if np.allclose(got, _backward(g, out, sigma)):
            continue
        for name, words in MISTAKES.items():
            if np.allclose(got, _backward(g, out, sigma, name)):
                raise NotYet(words)
        raise NotYet(f"first row: expected {np.round(_backward(g, out, sigma)[0], 3)}, got {np.round(got[0], 3)}")
    return "one line for five layers."


def _normalized(kind: str, x: Any) -> Any:
    """What the norm `kind` makes of x (N, C, H, W); "interleaved" takes every second channel for a group."""
    n, c, h, w = x.shape
    if kind == "group":
        return _hat(x.reshape(n, GROUPS, c // GROUPS, h, w), (2, 3, 4)).reshape(x.shape)
    if kind == "interleaved":
        return _hat(x.reshape(n, c // GROUPS, GROUPS, h, w), (1, 3, 4)).reshape(x.shape)
    if kind == "rms":
        return x / np.sqrt(np.mean(x**2, axis=(1, 2, 3), keepdims=True))
    axes = {"batch": (0, 2, 3), "layer": (1, 2, 3), "instance": (2, 3), "samples": (0,), "channels": (1,),
            "all": (0, 1, 2, 3)}  # fmt: skip
    return _hat(x, axes[kind])


TAKEN = {
    "batch": "batch norm takes one channel over all samples and pixels",
    "layer": "layer norm takes one sample over all channels and pixels",
    "instance": "instance norm takes one channel of one sample over its pixels",
    "group": "group norm takes neighbouring channels of one sample, here half of them, and all pixels",
    "rms": "RMS norm takes the numbers of layer norm, but subtracts no mean",
}
GIVEN = {
    "samples": "you normalise each pixel over the batch alone; the pixels belong to the set as well",
    "channels": "you normalise each pixel over the channels alone; the pixels belong to the set as well",
    "interleaved": "your groups take every second channel; a group is a run of neighbouring channels",
    "all": "you normalise the whole array with one mean",
}


@exercise
def check_axes(answer: Callable[[str, Any], Any]) -> str:
    """`answer(kind, x)`: x (N, C, H, W) after "batch", "layer", "instance", "group" (2 groups) or "rms" norm."""
    x = np.random.default_rng(0).normal(0.5, 1.0, (3, 4, 2, 5)) * np.arange(1.0, 5.0)[:, None, None]
    for kind, words in TAKEN.items():
        got = answer(kind, x.copy())
        if got is None:
            raise NotYet(f'your function returns nothing for "{kind}"')
        if np.shape(got) != x.shape:
            raise NotYet(f'"{kind}": expected the shape of x, {x.shape}, got {np.shape(got)}')
        if np.allclose(got, _normalized(kind, x), atol=1e-4):
            continue
        for other in (*TAKEN, *GIVEN):
            if other != kind and np.allclose(got, _normalized(other, x), atol=1e-4):
                raise NotYet(f'"{kind}": {GIVEN.get(other) or f"that is {other} norm; {words}"}')
        unbiased = np.allclose(np.mean(got), 0, atol=1e-6) and np.std(got) < 0.999
        if unbiased and kind != "rms":
            raise NotYet(f'"{kind}": the variance is less than 1; divide by the biased one, np.var without ddof')
        raise NotYet(f'"{kind}": {words}')
    return "five layers, one formula."


def _tracked(mean: Any, var: Any, batches: Any, momentum: float, mistake: str = "") -> tuple[Any, Any]:
    """The running statistics after all batches; `mistake` names a known wrong turn."""
    m = 1 - momentum if mistake == "keras" else momentum
    for x in batches:
        s, v = x.mean(axis=0), x.var(axis=0, ddof=0 if mistake == "biased" else 1)
        if mistake == "deviation":
            v = np.sqrt(v)
        old = mean
        mean = mean + m * (s - mean)
        if mistake == "running mean":
            v = np.mean((x - mean) ** 2, axis=0) * len(x) / (len(x) - 1)
        if mistake == "old mean":
            v = np.mean((x - old) ** 2, axis=0) * len(x) / (len(x) - 1)
        var = v if mistake == "last" else var + m * (v - var)
    return (s, var) if mistake == "last" else (mean, var)


TRACKING = {
    "biased": "the running variance is too small: it takes the unbiased variance of each batch, with ddof=1",
    "keras": "your momentum is what is kept, as in Keras; here it is what is new: r + momentum * (batch - r)",
    "last": "these are the statistics of the last batch; move the running ones a little towards each",
    "deviation": "you track the standard deviation; track the variance",
    "running mean": "the variance of a batch is taken around its own mean, not around the running one",
    "old mean": "the variance of a batch is taken around its own mean, not around the running one",
}


@exercise
def check_running(answer: Callable[[Any, Any, Any, float], Any]) -> str:
    """`answer(mean, var, batches, momentum)`: the pair (mean, var) after all batches, each (B, C)."""
    rng = np.random.default_rng(0)
    mean, var, momentum = np.array([0.5, -1.0]), np.array([1.0, 2.0]), 0.2
    batches = [rng.normal(3.0, 2.0, (size, 2)) for size in (4, 6, 3)]
    got = answer(mean.copy(), var.copy(), [x.copy() for x in batches], momentum)
    if got is None:
        raise NotYet("your function returns nothing; return mean, var")
    if not isinstance(got, tuple | list) or len(got) != 2 or any(np.shape(a) != (2,) for a in got):
        raise NotYet("return two arrays, mean and var, each with one number per channel")
    right = _tracked(mean, var, batches, momentum)
    if np.allclose(got, right):
        return "these are PyTorch's running statistics."
    for name, words in TRACKING.items():
        if np.allclose(got, _tracked(mean, var, batches, momentum, name)):
            raise NotYet(words)
    wrong = "mean" if not np.allclose(got[0], right[0]) else "variance"
    which = 0 if wrong == "mean" else 1
    raise NotYet(f"running {wrong}: expected {np.round(right[which], 4)}, got {np.round(got[which], 4)}")


def _folded(weight: Any, bias: Any, norm: Any, mistake: str = "") -> tuple[Any, Any]:
    """The affine map after which the norm has nothing left to do; `mistake` names a known wrong turn."""
    mean, var, gamma, beta, eps = norm
    roots = {"no eps": np.sqrt(var), "outside": np.sqrt(var) + eps, "no root": var + eps}
    scale = (1.0 if mistake == "no gamma" else gamma) / roots.get(mistake, np.sqrt(var + eps))
    w = weight * (scale[None, :] if mistake == "columns" else scale[:, None])
    if mistake == "bias unscaled":
        return w, bias + beta - mean * scale
    if mistake == "bias forgotten":
        return w, beta - mean * scale
    if mistake == "mean unscaled":
        return w, beta + bias * scale - mean
    if mistake == "plus":
        return w, beta + (bias + mean) * scale
    return w, beta + (bias - mean) * scale


FOLDING = {
    "no eps": "eps is missing: sqrt(var + eps)",
    "outside": "eps stands inside the root: sqrt(var + eps)",
    "no root": "divide by the root of var + eps, not by var + eps",
    "no gamma": "the factor of each unit is gamma / sqrt(var + eps); gamma is missing",
    "columns": "you scaled the columns of the weight, its inputs; the norm scales the outputs, which are rows",
    "bias unscaled": "the norm divides the old bias too: (bias - mean) * gamma / sqrt(var + eps) + beta",
    "bias forgotten": "the old bias is lost: the norm sees it, so mean is subtracted from it",
    "mean unscaled": "the mean is subtracted before the norm multiplies: (bias - mean) * factor",
    "plus": "the mean is subtracted, not added",
}


@exercise
def check_fold(answer: Callable[..., Any]) -> str:
    """`answer(weight, bias, mean, var, gamma, beta, eps)`: weight (out, in) and bias (out,) of one Linear for both."""
    rng = np.random.default_rng(0)
    for out, inputs in ((4, 4), (3, 5)):
        weight, bias, mean, gamma, beta = (rng.normal(size=s) for s in ((out, inputs), out, out, out, out))
        norm = (mean, rng.uniform(0.05, 0.5, out), gamma, beta, 0.1)
        given = weight.copy()
        got = answer(given, bias.copy(), *norm)
        if got is None:
            raise NotYet("your function returns nothing; return weight, bias")
        if not np.array_equal(given, weight):
            raise NotYet("weight was changed in place; return new arrays, the old ones may still be trained")
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise NotYet("return two arrays, the new weight and the new bias")
        if np.shape(got[0]) != weight.shape or np.shape(got[1]) != bias.shape:
            shapes = f"{np.shape(got[0])} and {np.shape(got[1])}"
            raise NotYet(f"expected the shapes {weight.shape} and {bias.shape}, got {shapes}")
        right = _folded(weight, bias, norm)
        weight_right, bias_right = map(np.allclose, got, right)
        if weight_right and bias_right:
            continue
        for name, words in FOLDING.items():
            wrong = _folded(weight, bias, norm, name)
            if np.allclose(got[0], wrong[0]) and (not weight_right or np.allclose(got[1], wrong[1])):
                raise NotYet(words)
        which = "bias" if weight_right else "weight"
        raise NotYet(f"the {which} is wrong; write down norm(weight @ x + bias) and sort by x")
    return "at test time the norm costs nothing."

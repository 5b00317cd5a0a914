"""Checks for the exercises of the chapter dropout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..nn.dropout import Dropout
from ..nn.modules import Linear, Module, Sequential
from ._check import NotYet, exercise

# ---- by hand ----


@exercise
def check_drop(answer: Callable[..., Any]) -> str:
    """`answer(x, p, rng)`: inverted dropout of an array, and its vjp."""
    x = np.random.default_rng(1).uniform(1, 2, size=(200, 150))
    for p in (0.2, 0.5, 0.8, 0.0, 1.0):
        given = x.copy()
        try:
            with np.errstate(all="ignore"):
                got = answer(given, p, np.random.default_rng(2))
        except ZeroDivisionError:
            raise NotYet(f"for p = {p:g} you divide by zero; treat p = 1 apart, its mask is all zeros") from None
        if got is None:
            raise NotYet("your function returns nothing; return out, vjp")
        if not isinstance(got, tuple) or len(got) != 2 or not callable(got[1]):
            raise NotYet("return two things, the array out and a function vjp")
        if not np.array_equal(given, x):
            raise NotYet("your function has changed x; make a new array")
        out, vjp = np.asarray(got[0]), got[1]
        if out.shape != x.shape:
            raise NotYet(f"for an input of shape {x.shape} the result has shape {out.shape}")
        if not np.isfinite(out).all():
            raise NotYet(f"for p = {p:g} the result is not finite; treat p = 1 apart, its mask is all zeros")
        _check_mask(out / x, p)
        for g in (np.ones_like(x), np.random.default_rng(3).uniform(1, 2, size=x.shape)):
            _check_gradient(vjp(g), g, out / x, p)
        again = answer(x.copy(), p, np.random.default_rng(2))
        if not np.array_equal(again[0], out):
            raise NotYet("two generators with the same seed give different masks; draw from rng, the argument")
    return "one mask, drawn once, for both directions."


def _check_mask(mask: Any, p: float) -> None:
    """`mask` is what x was multiplied by."""
    kept = float(np.mean(mask != 0))
    if p in (0, 1):
        if abs(kept - (1 - p)) > 1e-9 or (p == 0 and not np.allclose(mask, 1)):
            raise NotYet(f"p = {p:g} leaves out {'nothing: out is x' if p == 0 else 'everything: out is 0'}")
        return
    if any(len(np.unique(entries != 0, axis=0)) == 1 for entries in (mask, mask.T)):
        raise NotYet("whole rows or columns share a draw; draw one number for each entry, rng.random(x.shape)")
    if abs(kept - (1 - p)) > 0.02 and abs(kept - p) < 0.02:
        raise NotYet(f"for p = {p} your mask keeps {kept:.0%} of the numbers; p is the share to leave *out*")
    if abs(kept - (1 - p)) > 0.02:
        raise NotYet(f"for p = {p} your mask keeps {kept:.0%} of the numbers, expected {1 - p:.0%}")
    scale = float(np.mean(mask[mask != 0]))
    if np.isclose(scale, 1 / (1 - p)):
        return
    if np.isclose(scale, 1):
        raise NotYet(f"what is left is not scaled, so the mean has shrunk to {1 - p:.0%}; divide by 1 - p")
    if np.isclose(scale, 1 / p):
        raise NotYet("you divide by p; divide by 1 - p, the share that is kept")
    if np.isclose(scale, 1 - p):
        raise NotYet("you multiply by 1 - p; that belongs to the other convention, in use. Here divide by 1 - p")
    raise NotYet(f"for p = {p} what is left is multiplied by {scale:.4g}, expected {1 / (1 - p):.4g}")


def _check_gradient(got: Any, g: Any, mask: Any, p: float) -> None:
    if isinstance(got, tuple) and len(got) == 1:
        got = got[0]
    if got is None:
        raise NotYet("vjp(g) returns nothing; return the gradient of x")
    got = np.asarray(got)
    if got.shape != g.shape:
        raise NotYet(f"vjp(g) has shape {got.shape}, x has {g.shape}")
    if np.allclose(got, g * mask):
        return
    if p not in (0, 1) and np.allclose(got, g * (mask != 0)):
        raise NotYet("the gradient has the right zeros but is not scaled; the factor 1 / (1 - p) is part of the mask")
    if np.allclose(got, g):
        raise NotYet("vjp lets everything through; what was left out has no influence, and no gradient")
    if p not in (0, 1) and np.isclose(np.mean(got != 0), 1 - p, atol=0.02):
        raise NotYet("the backward pass drew a mask of its own; remember the one of the forward pass")
    raise NotYet(f"for p = {p} the gradient is not g times the mask of the forward pass")


# ---- the spread of a unit ----


def _spread(w: Any, x: Any, p: float) -> float:
    return float(np.sqrt(p / (1 - p) * np.sum(w**2 * x**2)))


SPREAD_MISTAKES: dict[str, Callable[[Any, Any, float], float]] = {
    "that is the variance; take the root": lambda w, x, p: _spread(w, x, p) ** 2,
    "that is without the scaling by 1 / (1 - p): the variance of a mask of zeros and ones is p (1 - p), "
    "of the scaled one p / (1 - p)": lambda w, x, p: _spread(w, x, p) * (1 - p),
    "p / (1 - p) is upside down: a larger p makes more noise": lambda w, x, p: _spread(w, x, 1 - p),
    "you squared the sum w · x; the draws are independent, so add the squares of the terms": lambda w, x, p: float(
        np.sqrt(p / (1 - p)) * abs(np.sum(w * x))
    ),
    "the inputs count too: a weight at an input of zero makes no noise": lambda w, x, p: _spread(w, np.ones_like(x), p),
    "the weights count too": lambda w, x, p: _spread(np.ones_like(w), x, p),
    "the terms are averaged; a unit adds them": lambda w, x, p: _spread(w, x, p) / len(w) ** 0.5,
}


@exercise
def check_spread(answer: Callable[..., Any]) -> str:
    """`answer(w, x, p)`: the standard deviation of the unit w · (m ⊙ x) over all masks."""
    rng = np.random.default_rng(0)
    cases = [(np.array([3.0, 1.0]), np.array([2.0, 4.0]), 0.5)]
    cases += [(rng.normal(size=n), rng.normal(size=n), p) for n in (2, 5, 40) for p in (0.1, 0.7)]
    for w, x, p in cases[1:] + cases[:1]:
        got, expected = answer(w.copy(), x.copy(), p), _spread(w, x, p)
        if got is None:
            raise NotYet("your function returns nothing")
        if np.ndim(got) != 0:
            raise NotYet(f"a standard deviation is one number, got shape {np.shape(got)}")
        if np.isclose(float(got), expected, rtol=0.02):
            if not np.isclose(float(got), expected, rtol=1e-9):
                raise NotYet(f"close, {float(got):.6g} for {expected:.6g}; there is an exact formula, without draws")
            continue
        for words, mistake in SPREAD_MISTAKES.items():
            if np.isclose(float(got), mistake(w, x, p), rtol=1e-9):
                raise NotYet(words)
        raise NotYet(f"for {len(w)} inputs and p = {p} expected {expected:.4g}, got {float(got):.4g}")
    return "for w = (3, 1), x = (2, 4) and p = 0.5 it is √52 = 7.21."


# ---- dropout without drawing ----


def _fit(X: Any, y: Any, p: float, mistake: str = "") -> Any:
    gram = X.T @ X
    strength = {"upside down": (1 - p) / max(p, 1e-9), "unscaled": p * (1 - p)}.get(mistake, p / (1 - p))
    penalty = np.diag(np.diag(gram))
    if mistake == "plain ridge":
        penalty = np.eye(len(gram))
    if mistake == "full":
        penalty = gram
    if mistake == "none":
        penalty = 0 * gram
    if mistake == "mean":
        penalty = penalty / len(X)
    return np.linalg.solve(gram + strength * penalty, X.T @ y)


FIT_MISTAKES = {
    "none": "that is least squares without dropout; the variance of the mask adds a penalty",
    "plain ridge": "you penalise all weights alike; the noise of weight j is as large as its inputs, so its penalty "
    "has the factor Σᵢ X²ᵢⱼ, the diagonal of XᵀX",
    "full": "you took all of XᵀX for the penalty, which only shrinks; the draws are independent, so only its "
    "diagonal remains",
    "upside down": "p / (1 - p) is upside down: p = 0 must give least squares",
    "unscaled": "p (1 - p) is the variance of a mask that is not scaled; here it is p / (1 - p)",
    "mean": "the penalty is a sum over the samples, as the squared error is; you took the mean",
}


@exercise
def check_fit(answer: Callable[..., Any]) -> str:
    """`answer(X, y, p)`: the weights with the least expected squared error under dropout of the columns of X."""
    rng = np.random.default_rng(0)
    for n, k in ((30, 4), (12, 6)):
        X = rng.normal(size=(n, k)) * np.array([0.3, 1, 2, 1, 3, 1])[:k] + 0.5
        y = rng.normal(size=n) + X[:, 0]
        for p in (0.5, 0.2, 0.8, 0.0):
            got, expected = answer(X.copy(), y.copy(), p), _fit(X, y, p)
            if got is None:
                raise NotYet("your function returns nothing")
            if np.shape(got) != (k,):
                raise NotYet(f"for {k} columns expected {k} weights, got shape {np.shape(got)}")
            if np.allclose(got, expected, rtol=1e-6, atol=1e-9):
                continue
            for mistake, words in FIT_MISTAKES.items():
                if np.allclose(got, _fit(X, y, p, mistake), rtol=1e-6, atol=1e-9):
                    raise NotYet(words)
            if p and np.allclose(got, (1 - p) * expected):
                raise NotYet("you scaled the weights by 1 - p as well; the inverted mask makes that superfluous")
            raise NotYet(f"for p = {p} expected the weights {expected.round(3)}, got {np.round(got, 3)}")
    return "all masks at once, and none drawn."


# ---- a committee ----


class _Count(Module):
    """Passes its input on, and counts how often."""

    def __init__(self) -> None:
        self.passes = 0

    def forward(self, x: Any) -> Any:
        self.passes += 1
        return x


def _committee() -> Iterator[tuple[Any, Any, Any, Any]]:
    """(network, input, its mean probabilities over all masks, those of the mean logits), in eval and in training."""
    for seed, training in ((0, False), (1, True)):
        rng = np.random.default_rng(seed)
        net = Sequential(_Count(), Dropout(0.5, rng), Linear(5, 3, rng=rng)).train(training)
        net[2].weight.data = rng.normal(0, 2, size=(3, 5)).astype(np.float32)
        X = rng.normal(size=(8, 5)).astype(np.float32)
        kept = np.array(list(product((0, 2), repeat=5)))
        logits = (kept[:, None] * X) @ net[2].weight.data.T + net[2].bias.data
        p, middle = np.exp(logits), np.exp(logits.mean(axis=0))
        p /= p.sum(axis=-1, keepdims=True)
        yield net, X, p.mean(axis=0), middle / middle.sum(axis=-1, keepdims=True)


@exercise
def check_average(answer: Callable[..., Any]) -> str:
    """`answer(net, X, samples)`: the mean of the probabilities over passes with dropout; the mode stays what it was."""
    samples = 2000
    for net, X, expected, geometric in _committee():
        training = net.training
        got = answer(net, Tensor(X), samples)
        if got is None:
            raise NotYet("your function returns nothing")
        got = got.data if isinstance(got, Tensor) else np.asarray(got)
        if got.shape != expected.shape:
            raise NotYet(f"expected probabilities of shape {expected.shape}, got shape {got.shape}")
        if not np.allclose(got.sum(axis=1), 1, atol=1e-3):
            raise NotYet("the rows do not add up to 1; take the softmax of each pass, over the classes, then the mean")
        if np.abs(got - expected).max() > 0.05:
            apart = np.abs(got - geometric).max()
            if apart < 1e-4:
                raise NotYet("no mask was drawn: the network is in eval. Call train() before the passes")
            if apart < 0.07:
                raise NotYet("that is the softmax of the mean logits, the geometric mean; average the probabilities")
            if net[0].passes < samples:
                raise NotYet(f"the network ran {net[0].passes} times for {samples} samples, too few to average")
            raise NotYet("these are not the mean probabilities; take the softmax of each pass, and divide by samples")
        if any(module.training != training for module in net.modules()):
            was, now = ("train", "eval") if training else ("eval", "train")
            raise NotYet(f"the network was in {was} and is now in {now}; leave its mode as you found it")
    return "a committee of thinned networks, and the mode as it was."

"""Checks for the exercises of the chapter language_model."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from ._check import NotYet, exercise

# ---- the mean over real places ----


def _number(got: Any) -> float:
    if got is None:
        raise NotYet("your function returns nothing; return one number")
    if np.size(got) != 1:
        raise NotYet(f"expected one number, got an array of shape {np.shape(got)}; take the mean of all names together")
    return float(np.asarray(got).reshape(()))


@exercise
def check_mean(answer: Callable[..., Any]) -> str:
    """`answer(losses, targets)`: the mean of the losses (N, T) at places whose target is not -100."""
    losses = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 50.0, 70.0], [2.0, 90.0, 40.0, 30.0]])
    targets = np.array([[0, 1, 2, 26], [3, 26, -100, -100], [26, -100, -100, -100]])
    real = targets != -100
    kept = np.where(real, losses, 0)
    given = losses.copy()
    got = _number(answer(given, targets.copy()))
    if not np.array_equal(given, losses):
        raise NotYet("the losses that you were given have changed; make a new array")
    wrong = {
        "that is the mean over all places, filler included": losses.mean(),
        "the filler is out of the sum, but still in the number that you divide by": kept.mean(),
        "that is a sum; divide it by the number of real places": kept.sum(),
        "that is the mean of each name's mean: a letter of a short name then counts more. Add up all letters first": (
            np.mean(kept.sum(axis=1) / real.sum(axis=1))
        ),
        "that is the cost of a name, not of a character; divide by the number of characters": kept.sum() / len(losses),
        "you kept the filler and left out the letters; turn the condition round": losses[~real].mean(),
        "0 is a letter, too: it is the a; leave out -100 only": losses[targets > 0].mean(),
        "the end of a name is a character, too: 26 is a target like any other": losses[real & (targets != 26)].mean(),
    }
    for hint, value in wrong.items():
        if np.isclose(got, value):
            raise NotYet(hint)
    if not np.isclose(got, losses[real].mean()):
        raise NotYet(f"for names of 4, 2 and 1 characters expected {losses[real].mean():.6f}, got {got:.6f}")
    return "each character counts once, and filler not at all."


# ---- the number of parameters ----


@exercise
def check_parameters(answer: Callable[..., Any]) -> str:
    """`answer(V, T, d, K)`: how many parameters a tied GPT has."""
    for V, T, d, K in ((27, 12, 48, 2), (50257, 1024, 768, 12), (5, 3, 4, 1)):
        block = 12 * d * d + 13 * d
        expected = V * d + T * d + K * block + 2 * d
        got = answer(V, T, d, K)
        if got is None:
            raise NotYet("your function returns nothing; return a number")
        if not isinstance(got, Real):
            raise NotYet(f"expected one number, got {got!r}")
        wrong = {
            "the head is tied: the table of the tokens counts once": expected + V * d,
            "the positions are missing; they are a table of (T, d)": expected - T * d,
            "the last norm is missing; it has a weight and a bias": expected - 2 * d,
            "the last norm has a bias as well": expected - d,
            "the table of the tokens is missing": expected - V * d,
            "the tied head has no bias": expected + V,
            "the small network has d to 4d to d features, not d to d to d": expected - K * (6 * d * d + 3 * d),
            "the small network of a block is missing": expected - K * (8 * d * d + 5 * d),
            "the biases of the linear maps are missing": expected - K * 9 * d,
            "a block has two norms, each with a weight and a bias": expected - K * 4 * d,
            "a block has two norms": expected - K * 2 * d,
            "that is one block; there are K": V * d + T * d + block + 2 * d if K > 1 else -1,
            "attention has four maps, the last one puts the heads together": expected - K * (d * d + d),
            "only the matrices are counted; vectors have parameters, too": V * d + T * d + K * 12 * d * d,
        }
        for hint, value in wrong.items():
            if got == value:
                raise NotYet(hint)
        if got != expected:
            raise NotYet(f"for V = {V}, T = {T}, d = {d}, K = {K} expected {expected:,}, got {got:,}")
    return "and GPT-2 has 124,439,808."


# ---- the nucleus ----


def _nucleus(p: Any, mass: float) -> Any:
    order = np.argsort(-p, kind="stable")
    before = np.cumsum(p[order]) - p[order]
    kept = np.zeros_like(p)
    chosen = order[before < mass]
    kept[chosen] = p[chosen]
    return kept / kept.sum()


@exercise
def check_nucleus(answer: Callable[..., Any]) -> str:
    """`answer(p, mass)`: p cut to the fewest likeliest tokens that have at least `mass` together, sum 1 again."""
    cases = [(np.array([0.05, 0.4, 0.1, 0.25, 0.2]), mass) for mass in (0.55, 0.3, 0.9, 1.0)]
    exact = np.array([1, 8, 2, 4, 1]) / 16  # sums without rounding: 1/2 + 1/4 is 0.75
    for p, mass in [*cases, (exact, 0.75)]:
        given = p.copy()
        got = answer(given, mass)
        if got is None:
            raise NotYet("your function returns nothing; return the new probabilities")
        if not np.array_equal(given, p):
            raise NotYet("the probabilities that you were given have changed; make a new array")
        got = np.asarray(got, dtype=float)
        if got.shape != p.shape:
            raise NotYet(f"expected {len(p)} probabilities, zeros included, got an array of shape {got.shape}")
        expected = _nucleus(p, mass)
        order = np.argsort(-p)
        below = np.where(np.isin(np.arange(5), order[np.cumsum(p[order]) <= mass]), p, 0)
        if mass < p.max() and not np.any(np.nan_to_num(got)):
            raise NotYet(f"nothing is left at a mass of {mass}, below that of the likeliest token; it always stays")
        if not np.allclose(expected, got):
            if np.allclose(got, np.where(expected > 0, p, 0)):
                raise NotYet("right tokens, but they do not sum to 1; divide by their sum")
            if np.allclose(got, np.sort(expected)[::-1]) or np.allclose(got, np.sort(expected)):
                raise NotYet("right numbers, at the wrong tokens; put each back to where it came from")
            if below.any() and np.allclose(got, below / below.sum()):
                raise NotYet(f"the token that crosses the mass of {mass} belongs to the set; without it the rest has "
                             "less")  # fmt: skip
            if p is exact:
                raise NotYet(f"at {p} the two likeliest have exactly the mass of {mass}, which is enough")
            if np.allclose(got, p):
                raise NotYet("nothing was cut")
            if np.allclose(got, _nucleus_of_least(p, mass)):
                raise NotYet("you kept the least likely tokens; sort in falling order")
            raise NotYet(f"for p = {p} and a mass of {mass} expected {expected.round(4)}, got {got.round(4)}")
    return "the tail is gone, and what is left sums to 1."


def _nucleus_of_least(p: Any, mass: float) -> Any:
    order = np.argsort(p)
    chosen = order[np.cumsum(p[order]) - p[order] < mass]
    kept = np.where(np.isin(np.arange(len(p)), chosen), p, 0)
    return kept / kept.sum()


# ---- does it look ahead? ----

V, LENGTH = 5, 6
TABLE = np.random.default_rng(0).normal(size=(V, V))


def _causal(tokens: Any) -> Any:
    """Logits (N, T, V) that depend on all tokens up to their own place."""
    x = TABLE[np.asarray(tokens)]
    return np.cumsum(x, axis=1) * np.arange(1, x.shape[1] + 1)[:, None]


def _peeks(tokens: Any) -> Any:
    x = TABLE[np.asarray(tokens)]
    return _causal(tokens) + np.concatenate([x[:, 1:], 0 * x[:, :1]], axis=1)


def _everything(tokens: Any) -> Any:
    x = TABLE[np.asarray(tokens)]
    return x + x.mean(axis=1, keepdims=True)


def _last_token(tokens: Any) -> Any:
    out = _causal(tokens)
    out[:, 2] += TABLE[np.asarray(tokens)[:, -1]]
    return out


def _one_pair(tokens: Any) -> Any:
    out = _causal(tokens)
    out[:, 3, 0] += 1e-3 * (np.asarray(tokens)[:, 4] == 2)
    return out


def _constant(tokens: Any) -> Any:
    return np.zeros((*np.shape(tokens), V))


@exercise
def check_leaks(answer: Callable[..., Any]) -> str:
    """`answer(f, vocabulary, T)`: whether some logits of ``f(tokens)``, (N, T, V), depend on a later token."""
    models = {
        "a causal model": (_causal, False),
        "a model that ignores its input": (_constant, False),
        "a model that sees the next token": (_peeks, True),
        "a model without a mask": (_everything, True),
        "a model that sees the last token from place 2": (_last_token, True),
        "a model that sees, at place 3, whether token 4 is a 2": (_one_pair, True),
    }
    found = {}
    for name, (model, _) in models.items():
        got = answer(model, V, LENGTH)
        if got is None:
            raise NotYet("your function returns nothing; return True or False")
        if np.size(got) != 1:
            raise NotYet(f"expected True or False, got an array of shape {np.shape(got)}")
        found[name] = bool(got)
    causal, ignoring, peeks, whole, last, pair = found.values()
    if causal and not whole:
        raise NotYet("turn the answer round: True means that it leaks")
    if causal:
        raise NotYet("a causal model is accused; a changed token may change the logits at its own place and later")
    if ignoring:
        raise NotYet("a model that ignores its input is accused; nothing can leak there")
    if not whole:
        raise NotYet("a model without a mask passes; change a token and compare the logits at all places before it")
    if not last:
        raise NotYet("a leak from the last token into place 2 passes; try each place, and look at all places before")
    if not peeks:
        raise NotYet("a model that sees the next token passes; the place just before the change counts, too")
    if not pair:
        raise NotYet("a small leak that shows for one token only passes; try each token at each place, and compare "
                     "exactly")  # fmt: skip
    return "no model can cheat behind your back."

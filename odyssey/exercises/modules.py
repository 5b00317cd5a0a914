"""Checks for the exercises of the chapter modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._check import NotYet, exercise

POINTS = np.linspace(-8, 8, 4000)  # of a standard normal distribution, and their shares
SHARES = np.exp(-(POINTS**2) / 2)
SHARES /= SHARES.sum()

NONLINEARITIES: dict[str, Callable[[Any], Any]] = {
    "max(z, 0)": lambda z: np.maximum(z, 0.0),
    "z": lambda z: 1.0 * z,
    "abs(z)": np.abs,
    "max(z, 0.1 z)": lambda z: np.maximum(z, 0.1 * z),
    "tanh(z)": np.tanh,
}


def _gain(f: Callable[[Any], Any], mistake: str = "") -> float:
    """The gain that keeps the mean square at 1 under `f`; `mistake` names a known wrong turn."""
    values = f(POINTS)
    square = float(SHARES @ np.square(values))
    if mistake == "variance":
        square -= float(SHARES @ values) ** 2
    if mistake == "slope":
        square = float(SHARES @ np.square((f(POINTS + 1e-6) - f(POINTS - 1e-6)) / 2e-6))
    if mistake == "mean":
        return 1 / float(SHARES @ np.abs(values))
    return float({"inverse": square**0.5, "no root": 1 / square}.get(mistake, square**-0.5))


GAIN_MISTAKES = {
    "no root": "that is G², the variance times n; take the root",
    "inverse": "that is how much f shrinks the signal; the gain makes up for it, so divide",
    "variance": "you subtracted the squared mean; the next layer feels the mean square, not the variance",
    "slope": "that keeps the gradient, with the mean of f'(z)²; here the signal counts, the mean of f(z)²",
    "mean": "you averaged |f(z)|; average f(z)² and take the root",
}


@exercise
def check_gain(answer: Callable[..., Any]) -> str:
    """`answer(f)`: the gain 1 / sqrt(mean of f(z)²), for standard normal z."""
    for name, f in NONLINEARITIES.items():
        got, expected = answer(f), _gain(f)
        if got is None:
            raise NotYet("your function returns nothing")
        if np.ndim(got) != 0:
            raise NotYet(f"a gain is one number, got shape {np.shape(got)}")
        got = float(got)
        if abs(got / expected - 1) < 0.02:
            continue
        for mistake, words in GAIN_MISTAKES.items():
            if abs(got / _gain(f, mistake) - 1) < 0.02:
                raise NotYet(f"for f(z) = {name}: {words}")
        raise NotYet(f"for f(z) = {name} expected {expected:.3f}, got {got:.3f}")
    return "√2 for ReLU; and tanh wants 1.59, where PyTorch takes 5/3."


LOGITS = np.array([[2.0, 1.0, 0.0, -1.0], [0.5, 0.5, 3.0, 0.0], [-1.0, 0.0, 0.0, 2.0]])
TARGETS, ALPHA = np.array([0, 1, 3]), 0.2


def _smooth(z: Any, y: Any, alpha: float, mistake: str = "") -> tuple[float, Any]:
    """Mean loss and gradient; `mistake` names a known wrong turn."""
    n, classes = z.shape
    log_p = z - z.max(axis=1, keepdims=True)
    log_p = log_p - np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    q = np.full(z.shape, alpha / (classes - 1 if mistake == "others" else classes))
    q[np.arange(n), y] = 1 - alpha if mistake in ("others", "replaced") else 1 - alpha + alpha / classes
    loss, gradient = -np.sum(q * log_p), np.exp(log_p) - q
    if mistake == "hard gradient":
        gradient = np.exp(log_p) - np.eye(classes)[y]
    if mistake == "sign":
        gradient = -gradient
    if mistake == "sum":
        return float(loss), gradient
    if mistake == "sum in the gradient":
        return float(loss / n), gradient
    return float(loss / n), gradient / n


SMOOTH_MISTAKES = {
    "others": "you spread α over the other classes only; here, as in PyTorch, the target gets α/C as well",
    "replaced": "the target has 1 - α; its share α/C of the smoothing is missing, and q does not sum to 1",
    "hard gradient": "the loss is smoothed, the gradient is not: it is p - q with the smoothed q",
    "sum": "these are sums over the batch; divide both by N",
    "sum in the gradient": "the loss is a mean, so the gradient must be divided by N too",
    "sign": "the gradient points the wrong way; it is p - q",
}


@exercise
def check_smoothing(answer: Callable[..., Any]) -> str:
    """`answer(z, y, alpha)`: the mean loss and its gradient by z, with label smoothing."""
    z = LOGITS.copy()
    got = answer(z, TARGETS.copy(), ALPHA)
    if got is None or not isinstance(got, tuple | list) or len(got) != 2:
        raise NotYet("return two things: the loss and its gradient")
    if not np.array_equal(z, LOGITS):
        raise NotYet("your function changed the logits; work on a copy")
    loss, gradient = got
    if np.shape(loss) != () or np.shape(gradient) != z.shape:
        wanted = f"expected a number and an array of shape {z.shape}"
        raise NotYet(f"{wanted}, got shapes {np.shape(loss)} and {np.shape(gradient)}")

    def close(pair: tuple[float, Any]) -> bool:
        return bool(np.isclose(loss, pair[0]) and np.allclose(gradient, pair[1]))

    if not close(_smooth(z, TARGETS, ALPHA)):
        for mistake, words in SMOOTH_MISTAKES.items():
            if close(_smooth(z, TARGETS, ALPHA, mistake)):
                raise NotYet(words)
        expected = _smooth(z, TARGETS, ALPHA)
        if not np.isclose(loss, expected[0]):
            raise NotYet(f"expected the loss {expected[0]:.4f}, got {float(loss):.4f}")
        raise NotYet("the loss is right, the gradient is not; it is (p - q) / N")
    large = np.array([[1e4, 0.0, -1e4]])
    with np.errstate(all="ignore"):
        loss, gradient = answer(large, np.array([0]), 0.0)
    expected = _smooth(large, np.array([0]), 0.0)
    if not (np.isfinite(loss) and np.all(np.isfinite(gradient))):
        raise NotYet("with the logits (10000, 0, -10000) it is not finite; subtract the largest before exp, and stay "
                     "in logarithms")  # fmt: skip
    if not (np.isclose(loss, expected[0]) and np.allclose(gradient, expected[1])):
        raise NotYet("with the logits (10000, 0, -10000) it is wrong; is a probability of 0 handled apart?")
    return "two lines of mathematics, and one maximum that keeps them finite."


def _flax() -> dict[str, dict[str, Any]]:
    rng = np.random.default_rng(0)
    sizes = [(3, 5), (5, 5), (5, 2)]
    return {
        f"Dense_{i}": {"kernel": rng.normal(size=size), "bias": rng.normal(size=size[1])}
        for i, size in enumerate(sizes)
    }


@exercise
def check_translate(answer: Callable[..., Any]) -> str:
    """`answer(layers)`: the state dict of Sequential(Linear, ReLU, Linear, ReLU, Linear) from Dense layers."""
    layers = _flax()
    got = answer(layers)
    if got is None:
        raise NotYet("your function returns nothing; return a dictionary of arrays")
    if any(not np.array_equal(layers[k][w], v) for k, a in _flax().items() for w, v in a.items()):
        raise NotYet("your function changed the arrays it was given")
    if not isinstance(got, dict):
        raise NotYet(f"expected a dictionary, got a {type(got).__name__}")
    wanted = [f"{2 * i}.{what}" for i in range(3) for what in ("weight", "bias")]
    if set(got) == {f"{i}.{what}" for i in range(3) for what in ("weight", "bias")}:
        raise NotYet("the names count the Linears only; the ReLUs between them have the numbers 1 and 3")
    if set(got) != set(wanted):
        raise NotYet(f"expected the names {wanted}, got {sorted(got)}")
    for i in range(3):
        kernel, bias = layers[f"Dense_{i}"]["kernel"], layers[f"Dense_{i}"]["bias"]
        weight = np.asarray(got[f"{2 * i}.weight"])
        if weight.shape != kernel.T.shape:
            raise NotYet(f"{2 * i}.weight has shape {weight.shape}, a Linear has (out, in) = {kernel.T.shape}")
        if np.array_equal(weight, kernel.reshape(kernel.T.shape)):
            how = "not transposed; it is square, so no shape complains" if i == 1 else "reshaped, not transposed"
            raise NotYet(f"{2 * i}.weight is {how}")
        if not np.array_equal(weight, kernel.T):
            raise NotYet(f"{2 * i}.weight is not the transpose of the kernel of Dense_{i}")
        if not np.array_equal(got[f"{2 * i}.bias"], bias):
            raise NotYet(f"{2 * i}.bias is not the bias of Dense_{i}")
    return "the names count all modules, and (in, out) has become (out, in)."

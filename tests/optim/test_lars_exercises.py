"""The exercises of the chapter lars: each known mistake gets its own hint."""

from pathlib import Path

import numpy as np
import pytest

from odyssey import Tensor
from odyssey.exercises.lars import check_exclude, check_lars, check_noise_scale, check_trust_ratio
from odyssey.optim import LARS
from odyssey.optim.lars import trust_ratio
from tests.exercises import hint

ROOT = Path(__file__).parents[2]

# ---- the ratio ----


def n(x):
    return np.sqrt(np.sum(x**2))


def zero_is(value, both=None):
    def answer(w, g, tau, decay):
        if n(w) == 0 and n(g) == 0 and both is not None:
            return both
        return value if n(w) == 0 or n(g) == 0 else tau * n(w) / (n(g) + decay * n(w))

    return answer


def test_the_ratio_of_the_package_passes():
    assert check_trust_ratio(lambda w, g, tau, decay: trust_ratio(w, g, tau, decay, 0.0)) is True
    assert check_trust_ratio(zero_is(np.float64(1))) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda w, g, tau, d: None, "returns nothing"),
        (lambda w, g, tau, d: tau * np.abs(w) / np.abs(g), "one number for the whole layer"),
        (lambda w, g, tau, d: tau * (n(g) + d * n(w)) / n(w), "upside down"),
        (lambda w, g, tau, d: tau * n(w) / n(g + d * w), "norm of the sum"),
        (lambda w, g, tau, d: tau * n(w) / n(g), "decay is missing"),
        (lambda w, g, tau, d: n(w) / (n(g) + d * n(w)), "trust coefficient tau is missing"),
        (lambda w, g, tau, d: tau * n(w) ** 2 / (n(g) ** 2 + d * n(w) ** 2), "squared norms"),
        (
            lambda w, g, tau, d: tau * np.linalg.norm(w, 2) / (np.linalg.norm(g, 2) + d * np.linalg.norm(w, 2)),
            "largest singular value",
        ),
        (lambda w, g, tau, d: 3.0, "got 3.000000"),
        (lambda w, g, tau, d: tau * n(w) / (n(g) + d * n(w)), "the ratio is 0 when w is zero"),
        (zero_is(0.05), "should be 1, got 0.05"),
        (zero_is(1.0, both=np.nan), "0/0 is not a number when w and g is zero"),
    ],
)
def test_mistakes_in_the_ratio(answer, words, capsys):
    assert words in hint(check_trust_ratio, answer, capsys)


# ---- the step ----


def lars(where="inside", *, decay=True, ratio=True, factor=1.0, sign=1.0, remember=True):
    def answer(w, gradients, rates, momentum, weight_decay, tau):
        v = np.zeros_like(w)
        for g, lr in zip(gradients, rates, strict=True):
            scale = tau * n(w) / (n(g) + weight_decay * n(w)) if ratio else 1.0
            step = g + weight_decay * w if decay else g
            places = {"inside": (lr * scale, 1), "rate outside": (scale, lr), "outside": (1, lr * scale)}
            inside, outside = places[where]
            v = (momentum if remember else 0) * v + factor * inside * step
            w = w - sign * outside * v
        return w

    return answer


def by_package(w, gradients, rates, momentum, weight_decay, tau):
    p = Tensor(w.copy(), requires_grad=True)
    optimizer = LARS([p], lr=1.0, momentum=momentum, weight_decay=weight_decay, trust_coefficient=tau)
    for g, lr in zip(gradients, rates, strict=True):
        optimizer.param_groups[0]["lr"], p.grad = lr, g
        optimizer.step()
    return p.data


def writes_into_w(w, *rest):
    w *= 0.5
    return w


def writes_into_g(w, gradients, *rest):
    gradients[0] += w
    return w


def test_right_steps_pass():
    assert check_lars(by_package) is True
    assert check_lars(lars()) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (lars("outside"), "rate and ratio multiply the whole velocity"),
        (lars("rate outside"), "old gradients get the new rate"),
        (lars(ratio=False), "this is momentum SGD"),
        (lars(decay=False), "not in the step"),
        (lars(factor=0.1), "(1 - momentum) does not belong"),
        (lars(remember=False), "nothing is remembered"),
        (lars(sign=-1), "uphill"),
        (writes_into_w, "weights that you were given have changed"),
        (writes_into_g, "a gradient was changed"),
        (lambda *a: None, "returns nothing"),
        (lambda *a: np.zeros(2), "expected an array of shape (3, 2)"),
        (lambda *a: np.zeros((3, 2)), "after four steps"),
        (lambda *a: undefined, "your code raised NameError"),  # noqa: F821
    ],
)
def test_mistakes_in_the_step(answer, words, capsys):
    assert words in hint(check_lars, answer, capsys)


# ---- the noise scale ----


def parts(small, large, b, B):
    return (small - large) / (1 / b - 1 / B), (B * large - b * small) / (B - b)


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda *a: None, "returns nothing"),
        (lambda *a: parts(*a)[1] / parts(*a)[0], "upside down"),
        (lambda *a: parts(*a)[0], "that is tr(Σ)"),
        (lambda *a: parts(*a)[1], "the intercept"),
        (lambda *a: parts(*a)[0] / a[1], "still holds noise"),
        (lambda *a: (a[0] - a[1]) / parts(*a)[1], "divided by 1/b - 1/B"),
        (lambda *a: -parts(*a)[0] / parts(*a)[1], "the sign is wrong"),
        (lambda *a: 7.0, "got 7"),
    ],
)
def test_mistakes_with_the_noise(answer, words, capsys):
    assert words in hint(check_noise_scale, answer, capsys)


# ---- groups ----


def split(rule):
    return lambda params: [
        {"params": [p for p in params if rule(p)]},
        {"params": [p for p in params if not rule(p)], "exclude": True},
    ]


def test_other_right_groups_pass():
    assert check_exclude(lambda params: [{"params": p, "exclude": p.ndim < 2} for p in params]) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda params: None, "returns nothing"),
        (lambda params: params, "expected a list of dicts"),
        (lambda params: [{"params": params}], "conv.bias, of shape (8,), gets a trust ratio"),
        (split(lambda p: p.ndim == 2), "conv.weight, of shape (8, 1, 3, 3), is excluded"),
        (split(lambda p: p.ndim != 1), "temperature, of shape (), gets a trust ratio"),
        (lambda params: split(lambda p: p.ndim > 1)(params[1:]), "conv.weight, of shape (8, 1, 3, 3), is in no group"),
        (lambda params: split(lambda p: p.ndim > 1)([*params, params[0]]), "is in 2 groups"),
        (lambda params: [{"params": [p.data for p in params]}], "not one of the given parameters"),
    ],
)
def test_mistakes_with_groups(answer, words, capsys):
    assert words in hint(check_exclude, answer, capsys)


# ---- the stored trajectories ----


@pytest.mark.parametrize("name, nesterov", [("plain", False), ("nesterov", True)])
def test_the_trajectory_is_that_of_optax(name, nesterov):
    with np.load(ROOT / "tests" / "reference" / "lars.npz") as reference:
        params = [Tensor(reference[f"start{i}"].copy(), requires_grad=True) for i in range(3)]
        optimizer = LARS(params, lr=0.5, trust_coefficient=0.02, nesterov=nesterov)
        for t, expected in enumerate(reference[name]):
            for i, p in enumerate(params):
                p.grad = reference[f"gradient{i}"][t]
            optimizer.step()
            found = np.concatenate([p.data.reshape(-1) for p in params])
            np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)

"""The exercises of the chapter adamw: each known mistake gets its own hint."""

from math import log
from pathlib import Path

import numpy as np
import pytest

from odyssey import Tensor
from odyssey.exercises.adamw import check_adamw, check_groups, check_half_life
from odyssey.optim import AdamW
from tests.exercises import hint

ROOT = Path(__file__).parents[2]

# ---- the formula ----


def adamw(mistake="", order="before"):
    def answer(p, gradients, lr, beta1, beta2, eps, decay):
        m = v = np.zeros_like(p)
        for t, g in enumerate(gradients, start=1):
            if mistake == "l2":
                g = g + decay * p
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g * g
            c1, c2 = (1, 1) if mistake == "uncorrected" else (1 - beta1**t, 1 - beta2**t)
            root = np.sqrt(v / c2) + eps
            factor = {"l2": 1, "none": 1, "divided": 1, "no rate": 1 - decay, "grows": 1 + lr * decay}
            factor = factor.get(mistake, 1 - lr * decay)
            if mistake == "divided":
                p = p - lr * (m / c1 + decay * p) / root
            elif order == "after":
                p = (p - lr * m / c1 / root) * factor
            else:
                p = p * factor - lr * m / c1 / root
        return p

    return answer


def test_the_optimizer_of_the_package_passes():
    def answer(p, gradients, lr, beta1, beta2, eps, decay):
        w = Tensor(p.copy(), requires_grad=True)
        optimizer = AdamW([w], lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=decay)
        for g in gradients:
            w.grad = g
            optimizer.step()
        return w.data

    assert check_adamw(answer) is True
    assert check_adamw(adamw()) is True


def writes_into_p(p, *rest):
    p *= 0.5
    return p


def writes_into_g(p, gradients, *rest):
    gradients[0] += p
    return p


@pytest.mark.parametrize(
    "answer, words",
    [
        (adamw("l2"), "added to the gradient"),
        (adamw(order="after"), "comes after the step"),
        (adamw("no rate"), "the rate is missing"),
        (adamw("none"), "nothing decays"),
        (adamw("grows"), "wrong sign"),
        (adamw("divided"), "still divided by the root of v"),
        (adamw("uncorrected"), "not corrected"),
        (writes_into_p, "parameters that you were given have changed"),
        (writes_into_g, "a gradient was changed"),
        (lambda *a: None, "returns nothing"),
        (lambda *a: np.zeros(2), "expected an array of shape (3,)"),
        (lambda *a: np.zeros(3), "after four steps"),
    ],
)
def test_mistakes_in_the_formula(answer, words, capsys):
    assert words in hint(check_adamw, answer, capsys)


# ---- groups ----


def grouped(decays, others=0.0, rule=lambda p: p.ndim >= 2):
    def answer(params, weight_decay):
        groups = [{"params": [p for p in params if rule(p)]}, {"params": [p for p in params if not rule(p)]}]
        for group, decay in zip(groups, (weight_decay if decays == "given" else decays, others), strict=True):
            if decay is not None:
                group["weight_decay"] = decay
        return groups

    return answer


def test_other_right_groups_pass():
    assert check_groups(lambda params, d: [{"params": p, "weight_decay": d * (p.ndim > 1)} for p in params]) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda params, d: [{"params": params, "weight_decay": d}], "a bias, of shape (3,), decays"),
        (grouped("given", rule=lambda p: p.ndim >= 1), "decays; biases, scales and shifts should not"),
        (grouped("given", rule=lambda p: p.ndim == 2), "a convolution, of shape (2, 1, 3, 3), should decay"),
        (grouped("given", others=None), "gets the default of 0.01"),
        (grouped(0.01), "not 0.01"),
        (lambda params, d: grouped("given")(params[:-1], d), "is in no group"),
        (lambda params, d: grouped("given")(params + params[:1], d), "is in 2 groups"),
        (lambda params, d: [{"params": [p.data for p in params]}], "not one of the given parameters"),
        (lambda params, d: params, "expected a list of dicts"),
        (lambda params, d: None, "returns nothing"),
    ],
)
def test_mistakes_with_groups(answer, words, capsys):
    assert words in hint(check_groups, answer, capsys)


# ---- half-life ----


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda lr, d: log(0.5) / log(1 - d), "the rate is forgotten"),
        (lambda lr, d: 1 / (lr * d), "1/e is left"),
        (lambda lr, d: 0.5 / (lr * d), "not as a line"),
        (lambda lr, d: log(2) / log(1 - lr * d), "a number of steps is positive"),
        (lambda lr, d: 100.0, "expected 692.8 steps, got 100"),
        (lambda lr, d: None, "returns nothing"),
    ],
)
def test_mistakes_with_the_half_life(answer, words, capsys):
    assert words in hint(check_half_life, answer, capsys)


def test_the_approximate_half_life_is_accepted():
    assert check_half_life(lambda lr, d: log(2) / (lr * d)) is True


# ---- the stored trajectories ----


@pytest.mark.parametrize("library", ["torch", "optax"])
def test_the_trajectory_is_that_of_other_libraries(library):
    with np.load(ROOT / "tests" / "reference" / "adamw.npz") as reference:
        w = Tensor(reference["start"].copy(), requires_grad=True)
        optimizer = AdamW([w], lr=0.05, weight_decay=0.2)
        for g, expected in zip(reference["gradients"], reference[library], strict=True):
            w.grad = g
            optimizer.step()
            np.testing.assert_allclose(w.data, expected, rtol=1e-12, atol=1e-14)

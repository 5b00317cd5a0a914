"""The exercises of the chapter adam: each known mistake gets its own hint."""

from math import sqrt

import numpy as np
import pytest

from odyssey.exercises.adam import check_adam, check_half_speed, check_largest_step
from tests.exercises import hint


def adam(mistake="", start=1, sign=1):
    def answer(p, gradients, lr, beta1, beta2, eps):
        if mistake == "swapped":
            beta1, beta2 = beta2, beta1
        m = v = np.zeros_like(p)
        for t, g in enumerate(gradients, start=start):
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g * g
            c1, c2 = 1 - beta1**t, 1 - beta2**t
            if mistake == "uncorrected":
                c1 = c2 = 1
            root = np.sqrt(v / c2 + eps) if mistake == "inside" else np.sqrt(v / c2) + eps
            if mistake == "unsquared":
                root = v / c2 + eps
            if mistake == "hat":
                root = (np.sqrt(v) + eps) / np.sqrt(c2)
            p = p - sign * lr * (m / c1) / root
        return p

    return answer


def aliased(p, gradients, lr, beta1, beta2, eps):
    m = v = None
    for t, g in enumerate(gradients, start=1):
        if m is None:
            m, v = g, np.zeros_like(g)
        else:
            m *= beta1
            m += (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        p = p - lr * m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
    return p


@pytest.mark.parametrize(
    "answer, words",
    [
        (adam("uncorrected"), "not corrected for their start at zero"),
        (adam("inside"), "eps stands inside the root"),
        (adam(start=0), "the first step is t = 1"),
        (adam("swapped"), "the two betas are swapped"),
        (adam("hat"), "eps is added before the correction"),
        (adam("unsquared"), "take its root"),
        (adam(sign=-1), "against the gradient"),
        (aliased, "m = g makes m a second name"),
        (lambda *a: None, "returns nothing"),
        (lambda *a: 1.0, "of shape (3,)"),
        (lambda p, *a: p, "after four steps expected"),
    ],
)
def test_mistakes_with_the_formula(answer, words, capsys):
    assert words in hint(check_adam, answer, capsys)


def test_in_place_work_on_the_parameters_is_accepted():
    def answer(p, *rest):
        p += adam()(p, *rest) - p
        return p

    assert check_adam(answer) is True


def single(beta1, beta2):
    return (1 - beta1) / sqrt(1 - beta2)


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda b1, b2: None, "returns nothing"),
        (lambda b1, b2: 1.0, "a growing one does worse"),
        (single, "one gradient among zeros"),
        (lambda b1, b2: single(b1, b2) ** 2 / (1 - b1**2 / b2), "take its root"),
        (lambda b1, b2: 5.0, "expected 7.2"),
    ],
)
def test_mistakes_with_the_bound(answer, words, capsys):
    assert words in hint(check_largest_step, answer, capsys)


RIGHT = {"outside": 1e-8, "hat": 1e-8 / sqrt(1e-3), "inside": sqrt(1e-8 / 3)}


@pytest.mark.parametrize(
    "answer, words",
    [
        (None, "expected a dict"),
        (RIGHT | {"hat": 1e-8}, "the root of the uncorrected v"),
        (RIGHT | {"hat": 1e-8 * sqrt(1e-3)}, "do not multiply"),
        (RIGHT | {"inside": 1e-4}, "not 2 |g|"),
        (RIGHT | {"outside": 2e-8}, "does not give half a step"),
        (RIGHT | {"outside": None}, "expected a number"),
    ],
)
def test_mistakes_with_half_speed(answer, words, capsys):
    assert words in hint(check_half_speed, answer, capsys)

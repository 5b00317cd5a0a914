"""The exercises of the chapter modules: each known mistake gets its own hint."""

import numpy as np
import pytest

from odyssey.exercises import modules as checks
from odyssey.exercises.modules import check_gain, check_smoothing, check_translate
from tests.exercises import hint


def by_sampling(statistic):
    z = np.random.default_rng(1).normal(size=1_000_000)
    return lambda f: statistic(f(z))


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda f: None, "returns nothing"),
        (lambda f: np.ones(3), "one number"),
        (by_sampling(lambda v: 1 / np.mean(v**2)), "take the root"),
        (by_sampling(lambda v: np.sqrt(np.mean(v**2))), "so divide"),
        (by_sampling(lambda v: 1 / np.std(v)), "you subtracted the squared mean"),
        (by_sampling(lambda v: 1 / np.mean(np.abs(v))), "you averaged |f(z)|"),
        (lambda f: checks._gain(f, "slope"), "that keeps the gradient"),
        (lambda f: 3.0, "expected 1.414, got 3.000"),
        (lambda f: 2**0.5, "for f(z) = z"),
        (lambda f: f("text"), "your code raised"),
    ],
)
def test_mistakes_with_the_gain(answer, words, capsys):
    assert words in hint(check_gain, answer, capsys)


def test_the_gain_of_relu_is_that_of_the_paper():
    assert np.isclose(checks._gain(checks.NONLINEARITIES["max(z, 0)"]), 2**0.5, rtol=1e-4)


def smooth(mistake=""):
    return lambda z, y, alpha: checks._smooth(z, y, alpha, mistake)


def overflowing(z, y, alpha):
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    q = np.full(z.shape, alpha / z.shape[1])
    q[np.arange(len(y)), y] += 1 - alpha
    return -np.sum(q * np.log(p)) / len(y), (p - q) / len(y)


def changing(z, y, alpha):
    z -= z.max()
    return smooth()(z, y, alpha)


@pytest.mark.parametrize("mistake", checks.SMOOTH_MISTAKES)
def test_named_mistakes_with_smoothing(mistake, capsys):
    assert checks.SMOOTH_MISTAKES[mistake] in hint(check_smoothing, smooth(mistake), capsys)


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda z, y, a: None, "return two things"),
        (lambda z, y, a: (1.0, np.zeros(3)), "expected a number and an array"),
        (lambda z, y, a: (1.0, np.zeros(z.shape)), "expected the loss"),
        (lambda z, y, a: (smooth()(z, y, a)[0], np.zeros(z.shape)), "the loss is right"),
        (overflowing, "it is not finite"),
        (lambda z, y, a: smooth()(np.minimum(z, 50), y, a) if a else (1.0, np.zeros(z.shape)), "it is wrong"),
        (changing, "changed the logits"),
    ],
)
def test_mistakes_with_smoothing(answer, words, capsys):
    assert words in hint(check_smoothing, answer, capsys)


def translated(weight=lambda k: k.T, name=lambda i: 2 * i, bias=lambda b: b):
    def answer(layers):
        state = {}
        for i in range(3):
            state[f"{name(i)}.weight"] = weight(layers[f"Dense_{i}"]["kernel"])
            state[f"{name(i)}.bias"] = bias(layers[f"Dense_{i}"]["bias"])
        return state

    return answer


def changed(layers):
    layers["Dense_0"]["kernel"] *= 2
    return translated()(layers)


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda layers: None, "returns nothing"),
        (lambda layers: [1], "expected a dictionary"),
        (translated(name=lambda i: i), "the names count the Linears only"),
        (translated(name=lambda i: f"layer{i}"), "expected the names"),
        (translated(weight=lambda k: k), "0.weight has shape (3, 5)"),
        (translated(weight=lambda k: k if k.shape == (5, 5) else k.T), "it is square"),
        (translated(weight=lambda k: k.reshape(k.T.shape)), "reshaped, not transposed"),
        (translated(weight=lambda k: 2 * k.T), "is not the transpose"),
        (translated(bias=lambda b: 0 * b), "0.bias is not the bias"),
        (changed, "changed the arrays"),
    ],
)
def test_mistakes_with_the_translation(answer, words, capsys):
    assert words in hint(check_translate, answer, capsys)

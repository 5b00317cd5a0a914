"""The exercises of the chapter beyond_adam: each known mistake gets its own hint."""

from math import ceil, log

import numpy as np
import pytest

from odyssey.exercises import beyond_adam as checks
from odyssey.exercises.beyond_adam import check_lion, check_rounds, check_steepest
from tests.exercises import hint


def lion(step=lambda inside, p, lr, decay: lr * (np.sign(inside) + decay * p), order="step", betas=(0, 1), sign=1):
    def answer(p, gradients, lr, *options):
        decay, m = options[2], np.zeros_like(p)
        beta1, beta2 = options[betas[0]], options[betas[1]]
        for g in gradients:
            if order == "memory":
                m = beta2 * m + (1 - beta2) * g
            inside = beta1 * m + (1 - beta1) * g
            if order == "step":
                m = beta2 * m + (1 - beta2) * g
            p = p - sign * step(inside, p, lr, decay)
        return p

    return answer


def aliased(p, gradients, lr, beta1, beta2, decay):
    m = gradients[0]
    for g in gradients[1:]:
        m *= beta2
        m += (1 - beta2) * g
    return p


@pytest.mark.parametrize(
    "answer, words",
    [
        (lion(lambda i, p, lr, decay: lr * (i + decay * p)), "take its sign"),
        (lion(lambda i, p, lr, decay: lr * np.sign(i + decay * p)), "inside the sign"),
        (lion(lambda i, p, lr, decay: lr * np.sign(i)), "do not decay"),
        (lion(lambda i, p, lr, decay: lr * np.sign(i) + decay * p), "not multiplied by the rate"),
        (lion(betas=(1, 0)), "the two betas are swapped"),
        (lion(betas=(0, 0)), "only beta1 is used"),
        (lion(order="memory"), "interpolate with the old memory first"),
        (lion(sign=-1), "after three steps expected"),
        (aliased, "a gradient was changed"),
        (lambda *a: None, "returns nothing"),
        (lambda *a: 1.0, "of shape (4,)"),
    ],
)
def test_mistakes_with_lion(answer, words, capsys):
    assert words in hint(check_lion, answer, capsys)


def test_the_mistakes_of_lion_differ():
    ends = [checks._lion(name) for name in ("", *checks.MISTAKES)]
    same = [(i, j) for i in range(len(ends)) for j in range(i) if np.allclose(ends[i], ends[j])]
    assert {checks.MISTAKES[list(checks.MISTAKES)[i - 1]] for i, _ in same} <= {checks.MISTAKES["one beta"]}
    assert all(j > 0 for _, j in same)


def test_lion_in_place_is_accepted():
    def answer(p, *rest):
        p += lion()(p, *rest) - p
        return p

    assert check_lion(answer) is True


def polar(G, full=False):
    u, _, vt = np.linalg.svd(G, full_matrices=full)
    return u, vt


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda G: None, "returns nothing"),
        (lambda G: np.matmul(*polar(G, full=True)), "full_matrices=False?"),
        (lambda G: np.matmul(*polar(G)) if len(G) == 3 else polar(G)[1], "expected that shape, got (2, 2)"),
        (lambda G: np.matmul(G, [1, 2]), "your code raised ValueError"),
        (lambda G: -polar(G)[0] @ polar(G)[1], "that is the smallest sum"),
        (lambda G: polar(G)[0] @ polar(G)[1].T, "do not transpose it again"),
        (np.sign, "sign(G) is best if every element"),
        (lambda G: G / np.linalg.norm(G), "under the Frobenius norm"),
        (lambda G: G / np.linalg.norm(G, 2), "only the largest singular value is 1"),
        (lambda G: 2 * polar(G)[0] @ polar(G)[1], "the spectral norm 2.000"),
        (lambda G: 0 * G, "your sum is 0.0000"),
    ],
)
def test_mistakes_with_steepest(answer, words, capsys):
    assert words in hint(check_steepest, answer, capsys)


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda s: None, "returns nothing"),
        (lambda s: log(0.5 / s) / log(3.4445), "a number of rounds is whole"),
        (lambda s: checks._rounds(s) if s < 0.5 else 1, "no round is needed"),
        (lambda s: checks._rounds(s) + 1 if s < 0.5 else 0, "one round too many"),
        (lambda s: checks._rounds(s) - 1 if s < 0.5 else 0, "one round too few"),
        (lambda s: 5, "expected 1, got 5"),
    ],
)
def test_mistakes_with_rounds(answer, words, capsys):
    assert words in hint(check_rounds, answer, capsys)


def test_the_logarithm_counts_the_rounds_of_small_values():
    for s in (1e-3, 1e-4, 1e-6):
        assert abs(checks._rounds(s) - ceil(log(0.5 / s) / log(3.4445))) <= 1

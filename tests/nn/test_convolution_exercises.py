"""The exercises of the chapter convolution: each known mistake gets its own hint."""

from math import ceil

import numpy as np
import pytest

import odyssey.nn.functional as F
from odyssey import Tensor
from odyssey.exercises.convolution import check_cost, check_gradients, check_length, check_separate
from odyssey.nn.convolution.geometry import output_length
from tests.exercises import hint

# ---- the length ----


def test_the_function_of_the_package_passes():
    assert check_length(output_length) is True
    assert check_length(lambda n, k, s, p, d: len(range(0, n + 2 * p - d * (k - 1), s))) is True
    assert check_length(lambda n, k, s, p, d: float((n + 2 * p - d * (k - 1) - 1) // s + 1)) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda n, k, s, p, d: (n + 2 * p - d * (k - 1) - 1) // s, "the last place counts too"),
        (lambda n, k, s, p, d: (n + 2 * p - k) // s + 1, "you left the dilation out"),
        (lambda n, k, s, p, d: (n + 2 * p - d * k) // s + 1, "not d k"),
        (lambda n, k, s, p, d: (n + p - d * (k - 1) - 1) // s + 1, "the padding stands on both sides"),
        (lambda n, k, s, p, d: (n - d * (k - 1) - 1) // s + 1, "you left the padding out"),
        (lambda n, k, s, p, d: n + 2 * p - d * (k - 1), "you left the stride out"),
        (lambda n, k, s, p, d: ceil((n + 2 * p - d * (k - 1) - 1) / s) + 1, "round down"),
        (lambda n, k, s, p, d: (n + 2 * p - d * (k - 1)) // s, "then add 1"),
        (lambda n, k, s, p, d: (n + 2 * p - d * (k - 1) - 1) / s + 1, "use // for the division"),
        (lambda n, k, s, p, d: 7, "for n = 9, kernel 1, stride 1, padding 0, dilation 1 it is 9, you say 7"),
        (lambda n, k, s, p, d: [7], "a whole number"),
        (lambda n, k, s, p, d: None, "returns nothing"),
        (lambda n, k: 3, "your code raised TypeError"),
    ],
)
def test_mistakes_with_the_length(answer, words, capsys):
    assert words in hint(check_length, answer, capsys)


# ---- the gradients ----


def right(x, w, g):
    leaves = [Tensor(a[None, None].copy(), True) for a in (x, w)]
    F.conv2d(*leaves).backward(g[None, None])
    return leaves[0].grad[0, 0], leaves[1].grad[0, 0]


def by_places(add):
    def answer(x, w, g):
        dx = np.zeros_like(x)
        for i, j in np.ndindex(g.shape):
            window = ..., slice(i, i + w.shape[0]), slice(j, j + w.shape[1])
            dx[window] = add * dx[window] + g[i, j] * w
        return dx, right(x, w, g)[1]

    return answer


def by_offsets(x, w, g):
    dx = np.zeros_like(x)
    for i, j in np.ndindex(w.shape):
        dx[i : i + g.shape[0], j : j + g.shape[1]] = w[i, j] * g
    return dx, right(x, w, g)[1]


def in_place(x, w, g):
    answer = right(x, w, g)
    g *= 2
    return answer


def test_right_gradients_pass():
    assert check_gradients(right) is True
    assert check_gradients(by_places(1)) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (by_places(0), "+= instead of ="),
        (by_offsets, "+= instead of ="),
        (lambda x, w, g: right(x, w, g)[::-1], "the two are swapped"),
        (lambda x, w, g: (right(x, w[::-1, ::-1], g)[0], right(x, w, g)[1]), "needs the flipped kernel"),
        (lambda x, w, g: (right(x, w, g)[0], right(x, w, g)[1][::-1, ::-1]), "dw is flipped"),
        (lambda x, w, g: (right(x, w, g)[0], right(x, w, g[::-1, ::-1])[1]), "dw is flipped"),
        (lambda x, w, g: (right(x, w, g)[0], right(x, w, g)[1] / g.size), "not their mean"),
        (lambda x, w, g: (right(x, w, g)[0], right(x, w, g)[1] + 1), "dw[0, 0] should be the sum of"),
        (lambda x, w, g: (right(x, w, g)[0], g), "dw must have the shape of w, (2, 3), got (4, 4)"),
        (lambda x, w, g: (g, right(x, w, g)[1]), "dx must have the shape of x, (5, 6), got (4, 4)"),
        (lambda x, w, g: (right(x, w, g)[0] + 1, right(x, w, g)[1]), "adds g[u, v] w[0 - u, 0 - v]"),
        (in_place, "has changed its inputs"),
        (lambda x, w, g: right(x, w, g)[0], "return two arrays"),
        (lambda x, w, g: None, "returns nothing"),
        (lambda x, w, g: x @ w, "your code raised ValueError"),
    ],
)
def test_mistakes_with_the_gradients(answer, words, capsys):
    assert words in hint(check_gradients, answer, capsys)


# ---- the cost ----


def cost(dense=lambda c, o, k: k * k * c * o, separable=lambda c, o, k: k * k * c + c * o, pixels=lambda h, w: h * w):
    return lambda C, O, k, H, W: (dense(C, O, k) * pixels(H, W), separable(C, O, k) * pixels(H, W))


def test_the_right_cost_passes():
    assert check_cost(cost()) is True
    assert check_cost(lambda C, O, k, H, W: np.array([k * k * C * O, k * k * C + C * O]) * (H * W)) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (cost(lambda c, o, k: k * c * o, lambda c, o, k: k * c + c * o), "a kernel of k × k has k² elements"),
        (cost(pixels=lambda h, w: 1), "you counted the weights"),
        (cost(separable=lambda c, o, k: k * k * c), "misses the 1 × 1 convolution"),
        (cost(separable=lambda c, o, k: c * o), "misses the depthwise kernels"),
        (cost(separable=lambda c, o, k: k * k * o + c * o), "one kernel for each *input* channel"),
        (cost(separable=lambda c, o, k: k * k * c * c * o), "their costs add"),
        (lambda *a: cost()(*a)[::-1], "the two are swapped"),
        (lambda *a: tuple(2 * n for n in cost()(*a)), "counts as one, not as two"),
        (cost(separable=lambda c, o, k: 1), "the separable one makes 457,856 multiply-adds, you say 196"),
        (cost(dense=lambda c, o, k: 1), "the dense one makes 3,612,672 multiply-adds, you say 196"),
        (lambda *a: cost()(*a)[0], "return two numbers"),
        (lambda *a: None, "returns nothing"),
        (lambda *a: a.missing, "your code raised AttributeError"),
    ],
)
def test_mistakes_with_the_cost(answer, words, capsys):
    assert words in hint(check_cost, answer, capsys)


# ---- made separable ----


def separate(scale=lambda s: s, weight_on_depth=False, where=lambda w: w):
    def answer(weight):
        o, c, *size = weight.shape
        matrices = where(weight).swapaxes(0, 1).reshape(c, o, -1)
        u, s, v = np.linalg.svd(matrices, full_matrices=False)
        point, depth = u[:, :, 0], v[:, 0]
        if weight_on_depth:
            depth = depth * scale(s[:, :1])
        else:
            point = point * scale(s[:, :1])
        return depth.reshape(c, 1, *size), point.T.reshape(o, c, 1, 1)

    return answer


def means(weight):
    o, c, *size = weight.shape
    return weight.mean(axis=0).reshape(c, 1, *size), weight.mean(axis=(2, 3)).reshape(o, c, 1, 1)


def the_first_channel_only(weight):
    depth, point = separate()(weight)
    depth[1:] = depth[:1]
    return depth, point


def in_the_weight(weight):
    answer = separate()(weight)
    weight *= 0
    return answer


def test_both_places_for_the_singular_value_pass():
    assert check_separate(separate()) is True
    assert check_separate(separate(weight_on_depth=True)) is True
    assert check_separate(lambda w: tuple(-part for part in separate()(w))) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (separate(np.ones_like), "the directions are right, the size is not"),
        (separate(np.square), "the directions are right, the size is not"),
        (means, "means are no good factors"),
        (the_first_channel_only, "take an SVD for each input channel"),
        (separate(where=lambda w: np.abs(w)), "the product misses"),
        (lambda w: separate()(w)[::-1], "the two are swapped"),
        (lambda w: (separate()(w)[0][:, 0], separate()(w)[1]), "depthwise must have the shape (4, 1, 3, 3)"),
        (lambda w: (separate()(w)[0], separate()(w)[1][..., 0]), "pointwise must have the shape (6, 4, 1, 1)"),
        (in_the_weight, "has changed the weight"),
        (lambda w: w, "return two arrays"),
        (lambda w: None, "returns nothing"),
        (lambda w: w.missing, "your code raised AttributeError"),
    ],
)
def test_mistakes_with_the_factors(answer, words, capsys):
    assert words in hint(check_separate, answer, capsys)

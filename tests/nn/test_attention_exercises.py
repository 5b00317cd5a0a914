"""The exercises of the chapter attention: each known mistake gets its own hint."""

from math import sqrt

import numpy as np
import pytest

from odyssey.exercises.attention import check_attention, check_heads, check_merge, check_scores
from odyssey.nn.functional import scaled_dot_product_attention
from tests.exercises import hint

# ---- attention with a mask ----


def attention(
    scale=sqrt,
    axis=1,
    hide=lambda s, mask: np.where(mask, s, -np.inf),
    top=lambda s, axis: np.maximum(s.max(axis=axis, keepdims=True), -1e300),
    keep=lambda p, mask: p,
    least=1e-300,
):
    """An attention function with a mistake."""

    def answer(q, k, v, mask):
        s = hide(q @ k.T / scale(q.shape[1]), mask)
        p = np.exp(s - top(s, axis))
        total = p.sum(axis=axis, keepdims=True)
        return keep(p / np.maximum(total, least), mask) @ v

    return answer


def writes_on_its_input(q, k, v, mask):
    q /= sqrt(q.shape[1])
    return attention(scale=lambda d: 1)(q, k, v, mask)


def spoils_the_other_rows(q, k, v, mask):
    out = attention()(q, k, v, mask)
    return out if mask.any(axis=1).all() else 0 * out


def test_the_function_of_the_package_passes():
    assert check_attention(attention()) is True
    assert check_attention(lambda *given: scaled_dot_product_attention(*given).data) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (attention(scale=lambda d: 1), "the scores are not scaled"),
        (attention(scale=lambda d: d), "divide by its root"),
        (attention(scale=lambda d: 1 / sqrt(d)), "are multiplied by the root of d"),
        (attention(scale=lambda d: sqrt(5)), "root of the number of keys"),
        (attention(axis=0), "the softmax runs over the queries"),
        (attention(hide=lambda s, mask: s, keep=lambda p, mask: p * mask), "the mask comes after the softmax"),
        (attention(hide=lambda s, mask: s * mask), "a score of 0 is not a weight of 0"),
        (attention(hide=lambda s, mask: s), "the mask is not used"),
        (attention(hide=lambda s, mask: np.where(mask, -np.inf, s)), "read the other way round"),
        (attention(top=lambda s, axis: 0), "scores of a million overflow"),
        (attention(top=lambda s, axis: s.max(axis=axis, keepdims=True)), "gives NaN; let it give zeros"),
        (attention(hide=lambda s, mask: np.where(mask, s, -1e9)), "may attend to nothing should give zeros"),
        (spoils_the_other_rows, "leave the other rows alone"),
        (lambda q, k, v, mask: 2 * attention()(q, k, v, mask), "expected [["),
        (writes_on_its_input, "an array that you were given has changed"),
        (lambda q, k, v, mask: attention()(q, k, v, mask).T, "expected an array of shape (3, 2), got (2, 3)"),
        (lambda q, k, v, mask: None, "returns nothing"),
        (lambda q, k, v, mask: q @ k, "your code raised ValueError"),
    ],
)
def test_mistakes_with_the_mask(answer, words, capsys):
    assert words in hint(check_attention, answer, capsys)


# ---- heads ----


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda x, h: x.reshape(2, h, 3, 2), "a reshape alone mixes the positions"),
        (lambda x, h: x.reshape(2, 3, h, 2), "the heads stand behind the positions"),
        (lambda x, h: x.reshape(2, 3, 2, h).transpose(0, 3, 1, 2), "head 0 gets every fourth feature"),
        (lambda x, h: x.reshape(2, 3, h, 2).swapaxes(1, 2)[:, ::-1], "head 0 of position 0 should be [0. 1.]"),
        (lambda x, h: x, "expected an array of shape (2, 4, 3, 2), got (2, 3, 8)"),
        (lambda x, h: x.__imul__(2).reshape(2, 3, h, 2).swapaxes(1, 2), "an array that you were given has changed"),
        (lambda x, h: None, "returns nothing"),
    ],
)
def test_mistakes_with_the_heads(answer, words, capsys):
    assert words in hint(check_heads, answer, capsys)


def test_other_ways_to_the_heads_pass():
    assert check_heads(lambda x, h: np.stack(np.split(x, h, axis=-1), axis=1)) is True


# ---- the gradient of the scores ----


def row_sum(x):
    return x.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda p, dp: p * dp, "the normalisation is forgotten"),
        (lambda p, dp: p * (1 - p) * dp, "the diagonal entries of the Jacobian alone"),
        (lambda p, dp: p * (dp - row_sum(dp)), "the row sum is that of dP * P"),
        (lambda p, dp: p * (dp - row_sum(dp) / 4), "the mean must be weighted with P"),
        (lambda p, dp: p * (dp - (dp * p).sum(axis=0)), "the sum runs over the queries"),
        (lambda p, dp: p * (dp - (dp * p).sum()), "the sum runs over the whole matrix"),
        (lambda p, dp: dp - row_sum(dp * p), "the factor P in front is missing"),
        (lambda p, dp: p * (row_sum(dp * p) - dp), "the sign is wrong"),
        (lambda p, dp: dp, "row 0 should be"),
        (lambda p, dp: p.__imul__(dp - row_sum(dp * p)), "an array that you were given has changed"),
        (lambda p, dp: p[0], "expected an array of shape (3, 4), got (4,)"),
        (lambda p, dp: None, "returns nothing"),
    ],
)
def test_mistakes_with_the_scores(answer, words, capsys):
    assert words in hint(check_scores, answer, capsys)


def test_the_whole_jacobian_passes():
    def answer(p, dp):
        jacobian = p[:, :, None] * np.eye(p.shape[1]) - p[:, :, None] * p[:, None, :]
        return np.einsum("ijl,ij->il", jacobian, dp)

    assert check_scores(answer) is True


# ---- two halves of the keys ----


def merge(weights=lambda m, new: np.exp(m - new), l_weights=None, o_weights=None, divide=False, top=np.maximum):
    """A merge with a mistake."""

    def answer(a, b):
        (m1, l1, o1), (m2, l2, o2) = a, b
        m = top(m1, m2)
        for_l, for_o = l_weights or weights, o_weights or weights
        total = for_l(m1, m) * l1 + for_l(m2, m) * l2
        o = for_o(m1, m)[:, None] * o1 + for_o(m2, m)[:, None] * o2
        return m, total, o / total[:, None] if divide else o

    return answer


def ones(m, new):
    return np.ones_like(m)


def writes_into_the_first(a, b):
    found = merge()(a, b)
    a[0][:] = found[0]
    return found


@pytest.mark.parametrize(
    "answer, words",
    [
        (merge(ones), "the sums of both blocks refer to different maxima"),
        (merge(lambda m, new: np.exp(new - m)), "the factors are upside down"),
        (merge(o_weights=ones), "the outputs are not rescaled"),
        (merge(l_weights=ones), "the sums of the weights are not rescaled"),
        (merge(divide=True), "the division by the sum comes once"),
        (merge(lambda m, new: np.exp(m - new) ** 2), "o / l of row 0 should be"),
        (merge(lambda m, new: np.exp(m), top=lambda m1, m2: 0 * m1), "with scores of 2000 it overflows"),
        (writes_into_the_first, "an array that you were given has changed"),
        (lambda a, b: None, "returns nothing"),
        (lambda a, b: a[:2], "return three arrays, (m, l, o), not 2"),
        (lambda a, b: (*a[:2], a[2].T), "expected an array of shape (3, 2), got (2, 3)"),
    ],
)
def test_mistakes_with_two_halves(answer, words, capsys):
    assert words in hint(check_merge, answer, capsys)


def test_the_right_merge_passes_whatever_the_common_shift():
    assert check_merge(merge()) is True
    assert check_merge(merge(top=lambda m1, m2: np.maximum(m1, m2) + 1)) is True

"""The exercises of the chapter clipping: each known mistake gets its own hint."""

import numpy as np
import pytest

from odyssey.exercises.clipping import check_clip, check_options, check_sign, check_threshold
from odyssey.optim.clipping import clip_grad_norm
from tests.exercises import hint

# ---- the function ----


def clip(length=None, eps=1e-6, cap=1.0, each=False, result=lambda before, after: before, write=True):
    """A clipping function with a mistake."""

    def two(gradients):
        return np.sqrt(sum(np.sum(g**2) for g in gradients))

    length = length or two

    def answer(gradients, max_norm):
        before, total = two(gradients), length(gradients)
        for g in gradients:
            factor = min(cap, max_norm / ((length([g]) if each else total) + eps))
            if write:
                g *= factor
        return result(before, two(gradients))

    return answer


def without_a_guard(gradients, max_norm):
    length = np.sqrt(sum(np.sum(g**2) for g in gradients))
    for g in gradients:
        g *= min(1, max_norm / (length + 1e-6)) if length else length / length  # 0 / 0
    return length


def by_value(gradients, max_norm):
    before = np.sqrt(sum(np.sum(g**2) for g in gradients))
    for g in gradients:
        np.clip(g, -max_norm, max_norm, out=g)
    return before


def a_new_list(gradients, max_norm):
    length = np.sqrt(sum(np.sum(g**2) for g in gradients))
    return [g * min(1, max_norm / (length + 1e-6)) for g in gradients]


def test_the_function_of_the_package_passes():
    assert check_clip(clip_grad_norm) is True
    assert check_clip(clip()) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (clip(each=True), "each tensor is clipped on its own"),
        (clip(cap=np.inf), "the factor is at most 1"),
        (clip(eps=0.0), "the 1e-6 of PyTorch is missing"),
        (clip(eps=1e-12), "the 1e-6 of PyTorch is missing"),
        (clip(lambda gs: sum(np.sum(g**2) for g in gs)), "divides by the sum of squares"),
        (clip(lambda gs: sum(np.sqrt(np.sum(g**2)) for g in gs)), "you added the norms"),
        (clip(lambda gs: sum(np.sum(np.abs(g)) for g in gs)), "sum of absolute values"),
        (without_a_guard, "became NaN"),
        (by_value, "clipping by value"),
        (a_new_list, "a list came back"),
        (clip(write=False), "nothing has changed"),
        (clip(result=lambda before, after: None), "returns nothing"),
        (clip(result=lambda before, after: after), "the norm after clipping"),
        (clip(result=lambda before, after: before**2), "the sum of squares; take the root"),
        (clip(result=lambda before, after: 7.0), "the norm before clipping is 28.1"),
        (clip(result=lambda before, after: [before]), "return one number"),
        (lambda gradients, max_norm: gradients.missing, "your code raised AttributeError"),
    ],
)
def test_mistakes_with_the_function(answer, words, capsys):
    assert words in hint(check_clip, answer, capsys)


# ---- options ----


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda L0, L1: (1 / L0, 1 / L1), "the length of the longest *step*"),
        (lambda L0, L1: (1 / L0, L1 / L0), "upside down"),
        (lambda L0, L1: (L0 / L1, 1 / L0), "swapped"),
        (lambda L0, L1: (1 / L1, L0 / L1), "nothing is clipped and the step is lr * g"),
        (lambda L0, L1: (1 / L0, L0), "it should be 1 / L1"),
        (lambda L0, L1: 1 / L0, "return two numbers"),
        (lambda L0, L1: None, "returns nothing"),
    ],
)
def test_mistakes_with_the_options(answer, words, capsys):
    assert words in hint(check_options, answer, capsys)


# ---- the sign ----


@pytest.mark.parametrize(
    "answer, words",
    [
        (0.5, "still of the wrong sign"),
        (3.9, "still of the wrong sign"),
        (5, "a lower threshold has the right sign too"),
        (10.0, "nothing is clipped any more"),
        (-4.0, "a positive number"),
        (np.nan, "a positive number"),
        (None, "assign a number"),
        ("four", "your code raised ValueError"),
    ],
)
def test_mistakes_with_the_sign(answer, words, capsys):
    assert words in hint(check_sign, answer, capsys)


def test_the_right_threshold_is_accepted_in_any_form():
    assert check_sign(4) is True and check_sign(np.float32(4)) is True


# ---- a threshold from a log ----


def sorts_the_log(norms, share):
    norms.sort()
    return np.nanquantile(norms, 1 - share)


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda norms, share: np.quantile(norms[np.isfinite(norms)], share), "the *longest* should be clipped"),
        (lambda norms, share: np.quantile(norms, 1 - share), "infinite norms have moved the threshold"),
        (lambda norms, share: np.quantile(norms[norms < np.inf], 0.9), "this clips 10.0% of the steps"),
        (lambda norms, share: np.quantile(norms[~np.isinf(norms)], 1 - share), "one NaN"),
        (lambda norms, share: np.nanquantile(norms, 1 - share), "infinite norms have moved the threshold"),
        (lambda norms, share: np.mean(norms[np.isfinite(norms)]), "of the steps with a finite norm"),
        (sorts_the_log, "the log has changed"),
        (lambda norms, share: norms, "return one number"),
        (lambda norms, share: None, "returns nothing"),
    ],
)
def test_mistakes_with_the_threshold(answer, words, capsys):
    assert words in hint(check_threshold, answer, capsys)


def test_other_ways_to_the_threshold_pass():
    def by_sorting(norms, share):
        finite = sorted(x for x in norms if np.isfinite(x))
        return finite[round(len(finite) * (1 - share))]

    assert check_threshold(by_sorting) is True
    assert check_threshold(lambda norms, share: np.percentile(norms[np.isfinite(norms)], 100 * (1 - share))) is True

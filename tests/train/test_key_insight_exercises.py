"""The exercises of the chapter key_insight: each known mistake gets its own hint."""

from itertools import combinations
from math import comb, sqrt

import numpy as np
import pytest

from odyssey.exercises.key_insight import check_best, check_interval, check_report, check_squares
from odyssey.train.key_insight import decompose, t_interval, t_quantile
from tests.exercises import hint

# ---- sums of squares ----


def squares(y, *, weights=None, clean=True, divide=False, total=False, order=(0, 1, 2, 3)):
    a, b, n = y.shape
    mean, cell = y.mean(), y.mean(axis=2)
    rows, columns = cell.mean(axis=1) - mean, cell.mean(axis=0) - mean
    both = cell - mean - (rows[:, None] + columns if clean else 0)
    w = (b * n, a * n, n) if weights is None else weights(a, b, n)
    found = [w[0] * np.sum(rows**2), w[1] * np.sum(columns**2), w[2] * np.sum(both**2)]
    found.append(np.sum((y - (mean if total else cell[..., None])) ** 2))
    if divide:
        found = [s / d for s, d in zip(found, (a - 1, b - 1, (a - 1) * (b - 1), a * b * (n - 1)), strict=True)]
    return [found[i] for i in order]


def spoils_the_data(y):
    y -= y.mean()
    return squares(y)


def without_the_mean(y):
    cell = y.mean(axis=2)
    both = cell - cell.mean(axis=1, keepdims=True) - cell.mean(axis=0)
    return [*squares(y)[:2], y.shape[2] * np.sum(both**2), squares(y)[3]]


def test_right_sums_pass():
    assert check_squares(squares) is True
    assert check_squares(lambda y: [part.squares for part in decompose(y, ["a", "b"]).values()]) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda y: None, "returns nothing"),
        (lambda y: "all", "got str"),
        (lambda y: squares(y)[:3], "got 3 numbers"),
        (lambda y: squares(y, order=(1, 0, 2, 3)), "exchanged"),
        (lambda y: squares(y, weights=lambda a, b, n: (1, 1, 1)), "counts as often"),
        (lambda y: squares(y, weights=lambda a, b, n: (b, a, 1)), "multiply by n"),
        (lambda y: squares(y, clean=False), "main effects as well"),
        (lambda y: squares(y, divide=True), "degrees of freedom"),
        (lambda y: squares(y, total=True), "mean of each cell"),
        (lambda y: [0, 0, 0, 1], "they add to 1, the total is"),
        (lambda y: squares(y, weights=lambda a, b, n: (a * n, b * n, n)), "weights of the first two are exchanged"),
        (without_the_mean, "takes it off twice"),
        (lambda y: squares(y) / np.sum(squares(y)), "leave out the division"),
        (spoils_the_data, "have changed"),
        (lambda y: undefined, "your code raised NameError"),  # noqa: F821
    ],
)
def test_mistakes_in_the_sums(answer, words, capsys):
    assert words in hint(check_squares, answer, capsys)


# ---- an interval ----


def interval(half, middle=np.mean):
    return lambda x: (middle(x) - half(x), middle(x) + half(x))


def t(x):
    return t_quantile(0.95, len(x) - 1)


def test_right_intervals_pass():
    assert check_interval(lambda x: t_interval(x)[1:]) is True
    assert check_interval(interval(lambda x: t(x) * x.std(ddof=1) / sqrt(len(x)))) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda x: None, "returns nothing"),
        (lambda x: t_interval(x), "got 3 numbers"),
        (lambda x: t_interval(x)[:0:-1], "low one comes first"),
        (interval(lambda x: 1.96 * x.std(ddof=1) / sqrt(len(x))), "Student's t"),
        (interval(lambda x: 1.959964 * x.std(ddof=1) / sqrt(len(x))), "Student's t"),
        (interval(lambda x: 1.96 * x.std() / sqrt(len(x))), "two mistakes"),
        (interval(lambda x: t(x) * x.std() / sqrt(len(x))), "ddof=1"),
        (interval(lambda x: t_quantile(0.95, len(x)) * x.std(ddof=1) / sqrt(len(x))), "one less than there are runs"),
        (interval(lambda x: t_quantile(0.975, len(x) - 1) * x.std(ddof=1) / sqrt(len(x))), "the confidence, 0.95"),
        (lambda x: (x.mean(), t(x) * x.std(ddof=1) / sqrt(len(x))), "first number is the mean"),
        (interval(lambda x: t(x) * x.std(ddof=1)), "single runs"),
        (interval(lambda x: t(x) * x.std(ddof=1) / len(x)), "not by n"),
        (interval(lambda x: x.std(ddof=1) / sqrt(len(x))), "standard error itself"),
        (interval(lambda x: x.std(ddof=1)), "no interval for the mean"),
        (interval(lambda x: t(x) * x.var(ddof=1) / sqrt(len(x))), "take its root"),
        (interval(lambda x: 2 * t(x) * x.std(ddof=1) / sqrt(len(x))), "twice too wide"),
        (interval(lambda x: t(x) * x.std(ddof=1) / sqrt(len(x)), np.median), "the middle is not"),
        (lambda x: (x.min(), x.max()), "expected a half width"),
    ],
)
def test_mistakes_in_the_interval(answer, words, capsys):
    assert words in hint(check_interval, answer, capsys)


# ---- the best of k ----


def over_sets(values, k):
    return np.mean([max(chosen) for chosen in combinations(values, k)])


def by_order(values, k):
    x = np.sort(values)
    return sum(v * comb(i, k - 1) for i, v in enumerate(x)) / comb(len(x), k)


def with_replacement(values, k):
    x, n = np.sort(values), len(values)
    return sum(v * (((i + 1) / n) ** k - (i / n) ** k) for i, v in enumerate(x))


def right_but_for_the_ends(values, k):
    return over_sets(values, k) if 1 < k < len(values) else 0.9


def test_right_bests_pass():
    assert check_best(over_sets) is True
    assert check_best(by_order) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda x, k: None, "returns nothing"),
        (lambda x, k: x, "expected one number"),
        (with_replacement, "with replacement"),
        (lambda x, k: -over_sets(-x, k), "expected worst"),
        (lambda x, k: x.max(), "best of all n runs"),
        (lambda x, k: x.mean(), "only for k = 1"),
        (lambda x, k: np.sort(x)[-k:].mean(), "mean of the k best"),
        (lambda x, k: x[:k].max(), "first k runs"),
        (lambda x, k: np.sort(x)[-k], "k-th best run"),
        (lambda x, k: 0.5, "got 0.500000"),
        (right_but_for_the_ends, "k = 1 should give"),
    ],
)
def test_mistakes_with_the_best(answer, words, capsys):
    assert words in hint(check_best, answer, capsys)


# ---- what to report ----


def test_the_honest_report_passes():
    assert check_report(lambda validation, test: test[np.argmax(validation)]) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda validation, test: None, "returns nothing"),
        (lambda validation, test: test.max(), "chose on the test set"),
        (lambda validation, test: validation.max(), "in part by luck"),
        (lambda validation, test: test.mean(), "mean of all candidates"),
        (lambda validation, test: validation[np.argmax(test)], "sets are exchanged"),
        (lambda validation, test: np.argmax(validation), "place of the candidate"),
        (lambda validation, test: 0.5, "got 0.5000"),
    ],
)
def test_mistakes_in_the_report(answer, words, capsys):
    assert words in hint(check_report, answer, capsys)


def test_choosing_on_both_sets_is_caught(capsys):
    def both(validation, test):
        return test[np.argmax(validation + test)]

    assert "Not yet" in hint(check_report, both, capsys)

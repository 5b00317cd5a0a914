"""The exercises of the chapter language_model: each known mistake gets its own hint."""

import numpy as np
import pytest

from odyssey.exercises.language_model import check_leaks, check_mean, check_nucleus, check_parameters
from odyssey.nn import Linear
from odyssey.train.language_model import GPT
from tests.exercises import hint

# ---- the mean over real places ----


def right_mean(losses, targets):
    return losses[targets != -100].mean()


def test_the_right_mean_passes():
    assert check_mean(right_mean) is True
    assert check_mean(lambda losses, targets: float(right_mean(losses, targets))) is True


def in_place(losses, targets):
    losses[targets == -100] = 0
    return losses.sum() / np.sum(targets != -100)


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda losses, targets: None, "returns nothing"),
        (lambda losses, targets: losses.mean(axis=1), "of all names together"),
        (in_place, "have changed"),
        (lambda losses, targets: losses.mean(), "filler included"),
        (lambda losses, targets: np.where(targets == -100, 0, losses).mean(), "in the number that you divide by"),
        (lambda losses, targets: losses[targets != -100].sum(), "that is a sum"),
        (lambda losses, targets: np.mean([*map(right_mean, losses, targets)]), "mean of each name"),
        (lambda losses, targets: losses[targets != -100].sum() / len(losses), "cost of a name"),
        (lambda losses, targets: losses[targets == -100].mean(), "turn the condition round"),
        (lambda losses, targets: losses[(targets >= 0) & (targets < 26)].mean(), "the end of a name is a character"),
        (lambda losses, targets: losses[targets > 0].mean(), "0 is a letter, too"),
        (lambda losses, targets: 7.0, "got 7.000000"),
        (lambda losses, targets: 1 / 0, "raised ZeroDivisionError"),
    ],
)
def test_mistakes_in_the_mean(answer, words, capsys):
    assert words in hint(check_mean, answer, capsys)


# ---- the number of parameters ----


def right_count(V, T, d, K):
    return V * d + T * d + K * (12 * d * d + 13 * d) + 2 * d


def by_building(V, T, d, K):
    if V > 1000:  # GPT-2 itself would fill half a gigabyte
        return right_count(V, T, d, K)
    return sum(p.size for p in GPT(V, T, d, 1, K).parameters())


def test_the_right_count_passes():
    assert check_parameters(right_count) is True
    assert check_parameters(by_building) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda V, T, d, K: None, "returns nothing"),
        (lambda V, T, d, K: right_count(V, T, d, K) + V * d, "tied"),
        (lambda V, T, d, K: right_count(V, T, d, K) - T * d, "positions are missing"),
        (lambda V, T, d, K: right_count(V, T, d, K) - 2 * d, "last norm is missing"),
        (lambda V, T, d, K: right_count(V, T, d, K) - d, "has a bias as well"),
        (lambda V, T, d, K: right_count(V, T, d, K) - K * 9 * d, "biases of the linear maps"),
        (lambda V, T, d, K: right_count(V, T, d, K) - K * 4 * d, "each with a weight and a bias"),
        (lambda V, T, d, K: right_count(V, T, d, K) - K * 2 * d, "a block has two norms"),
        (lambda V, T, d, K: right_count(V, T, d, 1), "there are K"),
        (lambda V, T, d, K: right_count(V, T, d, K) - K * (d * d + d), "four maps"),
        (lambda V, T, d, K: V * d + T * d + 12 * K * d * d, "only the matrices"),
        (lambda V, T, d, K: right_count(V, T, d, K) - V * d, "table of the tokens is missing"),
        (lambda V, T, d, K: right_count(V, T, d, K) + V, "the tied head has no bias"),
        (lambda V, T, d, K: right_count(V, T, d, K) - K * (6 * d * d + 3 * d), "d to 4d to d"),
        (lambda V, T, d, K: right_count(V, T, d, K) - K * (8 * d * d + 5 * d), "network of a block is missing"),
        (lambda V, T, d, K: "many", "expected one number, got 'many'"),
        (lambda V, T, d, K: np.zeros(2), "expected one number, got array"),
        (lambda V, T, d, K: 58_000, "got 58,000"),
    ],
)
def test_mistakes_in_the_count(answer, words, capsys):
    assert words in hint(check_parameters, answer, capsys)


# ---- the nucleus ----


def nucleus(p, mass):
    order = np.argsort(-p)
    kept = order[: 1 + np.searchsorted(np.cumsum(p[order]), mass - 1e-12)]
    out = np.zeros_like(p)
    out[kept] = p[kept]
    return out / out.sum()


def without_the_crossing_one(p, mass, at_least_one=True):
    order = np.argsort(-p)
    keep = np.cumsum(p[order]) <= mass
    keep[0] |= at_least_one
    out = np.zeros_like(p)
    out[order[keep]] = p[order[keep]]
    with np.errstate(all="ignore"):
        return out / out.sum()


def one_more(p, mass):
    order = np.argsort(-p)
    keep = np.cumsum(p[order]) - p[order] <= mass
    out = np.zeros_like(p)
    out[order[keep]] = p[order[keep]]
    return out / out.sum()


def least(p, mass):
    order = np.argsort(p)
    chosen = order[np.cumsum(p[order]) - p[order] < mass]
    out = np.where(np.isin(np.arange(5), chosen), p, 0)
    return out / out.sum()


def changes(p, mass):
    p *= 1
    p[0] = 0
    return p


def test_the_right_nucleus_passes():
    assert check_nucleus(nucleus) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda p, mass: None, "returns nothing"),
        (changes, "have changed"),
        (lambda p, mass: nucleus(p, mass)[nucleus(p, mass) > 0], "zeros included"),
        (lambda p, mass: np.where(nucleus(p, mass) > 0, p, 0), "do not sum to 1"),
        (lambda p, mass: np.sort(nucleus(p, mass))[::-1], "at the wrong tokens"),
        (without_the_crossing_one, "that crosses the mass"),
        (lambda p, mass: nucleus(p, mass) if mass > 0.4 else np.zeros(5), "it always stays"),
        (one_more, "exactly the mass of 0.75"),
        (least, "sort in falling order"),
        (lambda p, mass: p, "nothing was cut"),
        (lambda p, mass: np.full(5, 0.2), "expected"),
    ],
)
def test_mistakes_in_the_nucleus(answer, words, capsys):
    assert words in hint(check_nucleus, answer, capsys)


# ---- does it look ahead? ----


def leaks(f, vocabulary, T, *, places=None, compare=lambda a, b, t: not np.array_equal(a[:, :t], b[:, :t]), every=True):
    tokens = np.zeros((1, T), np.int64)
    before = f(tokens)
    for t in range(1, T) if places is None else places:
        for other in range(1, vocabulary if every else 2):
            changed = tokens.copy()
            changed[0, t] = other
            if compare(before, f(changed), t):
                return True
    return False


def test_the_right_test_passes():
    assert check_leaks(leaks) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda f, V, T: None, "returns nothing"),
        (lambda f, V, T: np.ones(3, bool), "an array of shape (3,)"),
        (lambda f, V, T: not leaks(f, V, T), "turn the answer round"),
        (lambda f, V, T: leaks(f, V, T, compare=lambda a, b, t: not np.array_equal(a, b)), "is accused"),
        (lambda f, V, T: not f(np.zeros((1, T), int)).any() or leaks(f, V, T), "ignores its input"),
        (lambda f, V, T: False, "without a mask passes"),
        (lambda f, V, T: leaks(f, V, T, places=[1]), "try each place"),
        (
            lambda f, V, T: leaks(f, V, T, compare=lambda a, b, t: not np.array_equal(a[:, : t - 1], b[:, : t - 1])),
            "just before the change",
        ),
        (lambda f, V, T: leaks(f, V, T, every=False), "for one token only"),
        (
            lambda f, V, T: leaks(f, V, T, compare=lambda a, b, t: not np.allclose(a[:, :t], b[:, :t], atol=0.01)),
            "compare exactly",
        ),
    ],
)
def test_mistakes_in_the_test(answer, words, capsys):
    assert words in hint(check_leaks, answer, capsys)


def test_it_finds_a_transformer_without_its_mask():
    model = GPT(5, 6, 8, 2, 1, rng=np.random.default_rng(0)).eval()
    assert not leaks(lambda tokens: model(tokens).data, 5, 6)
    block = model.blocks[0]
    assert any(isinstance(m, Linear) for m in block.modules())

    def open_eyes(tokens):
        x = model.token(tokens) + model.position(np.arange(tokens.shape[1]))
        return block(x).data

    assert leaks(open_eyes, 5, 6)

"""The exercises of the chapter dropout: each known mistake gets its own hint."""

import numpy as np
import pytest

import odyssey.nn.functional as F
from odyssey import Tensor, no_grad
from odyssey.exercises import dropout as checks
from odyssey.exercises.dropout import check_average, check_drop, check_fit, check_spread
from tests.exercises import hint

# ---- by hand ----


def drop(keep=lambda u, p: u >= p, scale=lambda p: 1 / (1 - p) if p < 1 else 0.0, back=lambda m, g, rng, p: g * m):
    def answer(x, p, rng):
        mask = keep(rng.random(x.shape), p) * scale(p)
        return x * mask, lambda g: back(mask, g, rng, p)

    return answer


def changes_x(x, p, rng):
    x *= 2
    return drop()(x, p, rng)


def own_generator(x, p, rng):
    return drop()(x, p, np.random.default_rng())


def flat(x, p, rng):
    out, vjp = drop()(x, p, rng)
    return out.ravel(), vjp


def by_rows(x, p, rng):
    mask = (rng.random((len(x), 1)) >= p) / (1 - p) * np.ones_like(x)
    return x * mask, lambda g: g * mask


def by_columns(x, p, rng):
    mask = (rng.random(x.shape[1]) >= p) / (1 - p) * np.ones_like(x)
    return x * mask, lambda g: g * mask


def redrawn(m, g, rng, p):
    return g * (rng.random(g.shape) >= p) / (1 - p) if p < 1 else 0 * g


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda x, p, rng: None, "returns nothing; return out, vjp"),
        (lambda x, p, rng: x, "return two things"),
        (lambda x, p, rng: (x, x), "return two things"),
        (changes_x, "changed x"),
        (flat, "the result has shape (30000,)"),
        (drop(scale=lambda p: 1 / np.float64(1 - p)), "is not finite; treat p = 1 apart"),
        (lambda x, p, rng: drop(scale=lambda p: 1 / (1 - p))(x, p, rng), "for p = 1 you divide by zero"),
        (drop(keep=lambda u, p: u < p, scale=lambda p: 1.0), "the share to leave *out*"),
        (drop(keep=lambda u, p: u >= p**2), "expected 80%"),
        (drop(scale=lambda p: 1.0), "what is left is not scaled, so the mean has shrunk to 80%"),
        (drop(scale=lambda p: 1 / p if p else 1.0), "you divide by p; divide by 1 - p"),
        (drop(scale=lambda p: 1 - p), "that belongs to the other convention"),
        (drop(scale=lambda p: 3.0), "what is left is multiplied by 3, expected 1.25"),
        (lambda x, p, rng: drop()(x, min(p, 0.9), rng), "p = 1 leaves out everything"),
        (drop(keep=lambda u, p: u >= (p or 0.1)), "p = 0 leaves out nothing"),
        (drop(scale=lambda p: 1 / (1 - p) if 0 < p < 1 else 2.0), "p = 0 leaves out nothing"),
        (by_rows, "whole rows or columns share a draw"),
        (by_columns, "whole rows or columns share a draw"),
        (own_generator, "draw from rng, the argument"),
        (drop(back=lambda m, g, rng, p: None), "vjp(g) returns nothing"),
        (drop(back=lambda m, g, rng, p: g[0]), "vjp(g) has shape (150,), x has (200, 150)"),
        (drop(back=redrawn), "the backward pass drew a mask of its own"),
        (drop(back=lambda m, g, rng, p: g * (m != 0)), "is not scaled; the factor 1 / (1 - p) is part of the mask"),
        (drop(back=lambda m, g, rng, p: g), "vjp lets everything through"),
        (drop(back=lambda m, g, rng, p: 2 * np.ones_like(g)), "the gradient is not g times the mask"),
    ],
)  # fmt: skip
def test_mistakes_with_dropout_by_hand(answer, words, capsys):
    assert words in hint(check_drop, answer, capsys)


def test_other_ways_to_drop_pass():
    def by_choice(x, p, rng):
        mask = rng.binomial(1, 1 - p, x.shape) / max(1 - p, 1e-12)
        return x * mask, lambda g: (g * mask,)

    def by_selection(x, p, rng):
        kept = rng.random(x.shape) >= p
        factor = 1 / (1 - p) if p < 1 else 0.0
        return np.where(kept, x * factor, 0.0), lambda g: np.where(kept, g * factor, 0.0)

    assert check_drop(by_choice) is True and check_drop(by_selection) is True


# ---- the noise of a unit ----


@pytest.mark.parametrize("mistake", checks.SPREAD_MISTAKES)
def test_named_mistakes_with_the_noise(mistake, capsys):
    assert mistake in hint(check_spread, checks.SPREAD_MISTAKES[mistake], capsys)


def by_sampling(w, x, p):
    masks = (np.random.default_rng(0).random((200_000, len(w))) >= p) / (1 - p)
    return np.std((masks * x) @ w)


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda w, x, p: None, "returns nothing"),
        (lambda w, x, p: w * x, "one number, got shape (2,)"),
        (by_sampling, "there is an exact formula, without draws"),
        (lambda w, x, p: 1.0, "expected"),
        (lambda w, x, p: w["no"], "your code raised"),
    ],
)
def test_mistakes_with_the_noise(answer, words, capsys):
    assert words in hint(check_spread, answer, capsys)


def test_the_noise_can_be_counted():
    masks = np.array([[0, 0], [0, 2], [2, 0], [2, 2]])
    counted = np.std((masks * [2.0, 4.0]) @ [3.0, 1.0])
    assert counted == pytest.approx(checks._spread(np.array([3.0, 1.0]), np.array([2.0, 4.0]), 0.5), rel=1e-14)
    assert check_spread(lambda w, x, p: (p / (1 - p)) ** 0.5 * np.linalg.norm(w * x)) is True


# ---- without drawing ----


@pytest.mark.parametrize("mistake", checks.FIT_MISTAKES)
def test_named_mistakes_with_the_fit(mistake, capsys):
    def answer(X, y, p):
        return checks._fit(X, y, p, mistake)

    assert checks.FIT_MISTAKES[mistake] in hint(check_fit, answer, capsys)


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda X, y, p: None, "returns nothing"),
        (lambda X, y, p: X @ y[:4], "expected 4 weights, got shape (30,)"),
        (lambda X, y, p: (1 - p) * checks._fit(X, y, p), "you scaled the weights by 1 - p as well"),
        (lambda X, y, p: np.zeros(X.shape[1]), "for p = 0.5 expected the weights"),
        (lambda X, y, p: np.linalg.inv(X), "your code raised LinAlgError"),
    ],
)
def test_mistakes_with_the_fit(answer, words, capsys):
    assert words in hint(check_fit, answer, capsys)


def test_the_fit_as_least_squares_with_more_rows():
    def augmented(X, y, p):
        rows = np.diag(np.sqrt(p / (1 - p) * np.sum(X**2, axis=0)))
        return np.linalg.lstsq(np.vstack([X, rows]), np.concatenate([y, np.zeros(X.shape[1])]))[0]

    assert check_fit(augmented) is True


# ---- a committee ----


def average(train=True, restore=True, passes=None, inside=True, divide=True, axis=-1):
    def answer(net, X, samples):
        mode, total = net.training, 0
        if train is not None:
            net.train(train)
        with no_grad():
            for _ in range(passes or samples):
                z = net(X)
                total = total + (F.softmax(z, axis).data if inside else z.data)
        if restore:
            net.train(mode)
        mean = total / ((passes or samples) if divide else 1)
        return mean if inside else F.softmax(Tensor(mean)).data

    return answer


def leaves_children(net, X, samples):
    out = average(restore=False)(net, X, samples)
    net.training = False
    return out


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda net, X, samples: None, "returns nothing"),
        (lambda net, X, samples: np.ones(3), "expected probabilities of shape (8, 3), got shape (3,)"),
        (average(train=False), "the network is in eval. Call train()"),
        (average(train=None), "the network is in eval. Call train()"),
        (average(inside=False), "the geometric mean; average the probabilities"),
        (average(passes=1), "the network ran 1 times for 2000 samples"),
        (average(divide=False), "the rows do not add up to 1"),
        (average(axis=0), "the rows do not add up to 1"),
        (average(restore=False), "was in eval and is now in train"),
        (lambda net, X, samples: average(restore=False)(net, X, samples) if net.eval() else None, "is now in train"),
        (lambda net, X, samples: (average()(net, X, samples), net.eval())[0], "was in train and is now in eval"),
        (leaves_children, "leave its mode as you found it"),
        (lambda net, X, samples: average(passes=samples)(net, X, samples)[:, ::-1], "these are not the mean"),
        (lambda net, X, samples: net.nothing, "your code raised AttributeError"),
    ],
)
def test_mistakes_with_the_committee(answer, words, capsys):
    assert words in hint(check_average, answer, capsys)


def test_one_pass_with_many_copies_of_the_input_is_a_committee_too():
    def at_once(net, X, samples):
        mode = net.training
        net.train()
        with no_grad():
            p = F.softmax(net(Tensor(np.tile(X.data, (samples, 1))))).data
        net.train(mode)
        return p.reshape(samples, len(X), -1).mean(axis=0)

    assert check_average(at_once) is True

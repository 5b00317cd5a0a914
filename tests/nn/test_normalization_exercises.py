"""The exercises of the chapter normalization: each known mistake gets its own hint."""

import numpy as np
import pytest

import odyssey.nn.functional as F
from odyssey import Tensor, nn
from odyssey.exercises.normalization import check_axes, check_backward, check_fold, check_running
from odyssey.nn.normalization import standardize_vjp
from tests.exercises import hint

# ---- the gradient ----


def mean(a):
    return a.mean(axis=1, keepdims=True)


def in_place(g, out, sigma):
    g -= mean(g) + out * mean(g * out)
    return g / sigma


def test_the_rule_of_the_package_passes():
    assert check_backward(lambda g, out, sigma: standardize_vjp(g, out, 1 / sigma[:, 0])) is True


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda g, out, s: g / s, "mean and sigma depend on x too"),
        (lambda g, out, s: (g - out * mean(g * out)) / s, "mean(g) is missing"),
        (lambda g, out, s: (g - mean(g)) / s, "out * mean(g * out) is missing"),
        (
            lambda g, out, s: (g - g.sum(1, keepdims=True) - out * (g * out).sum(1, keepdims=True)) / s,
            "means, not sums",
        ),
        (lambda g, out, s: (g - mean(g) + out * mean(g * out)) / s, "subtracted, not added"),
        (lambda g, out, s: (g - g.mean() - out * (g * out).mean()) / s, "the means run over the whole array"),
        (lambda g, out, s: g - mean(g) - out * mean(g * out), "divide it by sigma"),
        (lambda g, out, s: (g - mean(g) - out * mean(g * out)) * s, "do not multiply"),
        (lambda g, out, s: (g - mean(g) - out * mean(g * out) * 5 / 4) / s, "n in the denominator"),
        (lambda g, out, s: 0 * g, "first row: expected"),
        (lambda g, out, s: mean(g), "expected the shape of g, (3, 5), got (3, 1)"),
        (lambda g, out, s: None, "returns nothing"),
        (in_place, "g was changed in place"),
        (lambda g, out, s: g @ out, "your code raised ValueError"),
    ],
)
def test_mistakes_with_the_gradient(answer, words, capsys):
    assert words in hint(check_backward, answer, capsys)


# ---- the axes ----


def hat(x, axes, ddof=0):
    return (x - x.mean(axis=axes, keepdims=True)) / x.std(axis=axes, keepdims=True, ddof=ddof)


def right(kind, x):
    N, C, H, W = x.shape
    if kind == "group":
        return hat(x.reshape(2 * N, C // 2, H, W), (1, 2, 3)).reshape(x.shape)
    if kind == "rms":
        return x / np.sqrt(np.mean(x**2, axis=(1, 2, 3), keepdims=True))
    return hat(x, {"batch": (0, 2, 3), "layer": (1, 2, 3), "instance": (2, 3)}[kind])


def wrong(kind, function):
    """The right answer, but for one kind."""
    return lambda asked, x: function(x) if asked == kind else right(asked, x)


def interleaved(x):
    N, C, H, W = x.shape
    return hat(x.reshape(N, C // 2, 2, H, W), (1, 3, 4)).reshape(x.shape)


def test_the_layers_of_the_package_pass():
    def answer(kind, x):
        eps = 1e-12
        if kind == "batch":
            return F.batch_norm(x, training=True, eps=eps).data
        if kind in ("layer", "rms"):
            return {"layer": F.layer_norm, "rms": F.rms_norm}[kind](x, x.shape[1:], eps=eps).data
        return F.group_norm(x, 2 if kind == "group" else x.shape[1], eps=eps).data

    assert check_axes(answer) is True
    assert check_axes(right) is True


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (wrong("batch", lambda x: hat(x, 0)), "the pixels belong to the set as well"),
        (wrong("batch", lambda x: hat(x, (1, 2, 3))), "that is layer norm; batch norm takes one channel"),
        (wrong("batch", lambda x: hat(x, (2, 3))), "that is instance norm; batch norm takes one channel"),
        (wrong("batch", lambda x: hat(x, (0, 2, 3), ddof=1)), "np.var without ddof"),
        (wrong("batch", lambda x: hat(x, (0, 1, 2, 3))), "the whole array with one mean"),
        (wrong("layer", lambda x: hat(x, 1)), "each pixel over the channels alone"),
        (wrong("layer", lambda x: hat(x, (0, 2, 3))), "that is batch norm; layer norm takes one sample"),
        (wrong("layer", lambda x: right("rms", x)), "that is rms norm; layer norm takes one sample"),
        (wrong("instance", lambda x: hat(x, (1, 2, 3))), "that is layer norm; instance norm takes"),
        (wrong("group", interleaved), "your groups take every second channel"),
        (wrong("group", lambda x: hat(x, (1, 2, 3))), "that is layer norm; group norm takes neighbouring"),
        (wrong("rms", lambda x: hat(x, (1, 2, 3))), "that is layer norm; RMS norm takes the numbers of layer norm"),
        (wrong("rms", lambda x: x), '"rms": RMS norm takes'),
        (wrong("instance", lambda x: 2 * x), '"instance": instance norm takes'),
        (wrong("instance", lambda x: x[0]), "expected the shape of x, (3, 4, 2, 5)"),
        (wrong("group", lambda x: None), 'nothing for "group"'),
    ],
)
def test_mistakes_with_the_axes(answer, words, capsys):
    assert words in hint(check_axes, answer, capsys)


# ---- running statistics ----


def tracker(m=lambda m: m, ddof=1, spread=np.var, center=None, keep=True):
    def answer(mean, var, batches, momentum):
        step = m(momentum)
        for x in batches:
            old, mean = mean, mean + step * (x.mean(axis=0) - mean)
            new = spread(x, axis=0, ddof=ddof)
            if center:
                new = np.sum((x - (old if center == "old" else mean)) ** 2, axis=0) / (len(x) - 1)
            var = var + step * (new - var) if keep else new
        return (mean, var) if keep else (x.mean(axis=0), var)

    return answer


def test_the_layer_of_the_package_passes():
    def answer(mean, var, batches, momentum):
        layer = nn.BatchNorm(2, momentum=momentum).to(np.float64)
        layer.running_mean, layer.running_var = mean, var
        for x in batches:
            layer(Tensor(x))
        return layer.running_mean, layer.running_var

    assert check_running(answer) is True
    assert check_running(tracker()) is True


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (tracker(m=lambda m: 1 - m), "your momentum is what is kept, as in Keras"),
        (tracker(ddof=0), "the unbiased variance of each batch, with ddof=1"),
        (tracker(spread=np.std), "track the variance"),
        (tracker(center="new"), "around its own mean, not around the running one"),
        (tracker(center="old"), "around its own mean, not around the running one"),
        (tracker(keep=False), "statistics of the last batch"),
        (lambda mean, var, batches, m: (mean, var), "running mean: expected"),
        (lambda mean, var, batches, m: (tracker()(mean, var, batches, m)[0], var), "running variance: expected"),
        (lambda mean, var, batches, m: mean, "return two arrays"),
        (lambda mean, var, batches, m: None, "returns nothing"),
    ],
)
def test_mistakes_with_the_running_statistics(answer, words, capsys):
    assert words in hint(check_running, answer, capsys)


# ---- folding ----


def folder(root=lambda var, eps: np.sqrt(var + eps), gamma=True, rows=True, shift=None):
    def answer(weight, bias, mean, var, gam, beta, eps):
        f = (gam if gamma else 1.0) / root(var, eps)
        new = (shift or (lambda b, m, f, beta: (b - m) * f + beta))(bias, mean, f, beta)
        return weight * (f[:, None] if rows else f), new

    return answer


def changes_the_weight(weight, bias, mean, var, gamma, beta, eps):
    f = gamma / np.sqrt(var + eps)
    weight *= f[:, None]
    return weight, (bias - mean) * f + beta


def test_the_folded_layer_is_the_pair_of_layers():
    rng = np.random.default_rng(0)
    linear, norm = nn.Linear(5, 3, rng=rng).to(np.float64), nn.BatchNorm(3).to(np.float64).eval()
    norm.running_mean, norm.running_var = rng.normal(size=3), rng.uniform(0.5, 2, 3)
    norm.weight.data, norm.bias.data = rng.normal(size=3), rng.normal(size=3)
    x = rng.normal(size=(7, 5))
    state = [linear.weight.data, linear.bias.data, norm.running_mean, norm.running_var, norm.weight.data]
    weight, bias = folder()(*state, norm.bias.data, norm.eps)
    np.testing.assert_allclose(norm(linear(Tensor(x))).data, x @ weight.T + bias, rtol=1e-12)
    assert check_fold(folder()) is True


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (folder(root=lambda var, eps: np.sqrt(var)), "eps is missing"),
        (folder(root=lambda var, eps: np.sqrt(var) + eps), "eps stands inside the root"),
        (folder(root=lambda var, eps: var + eps), "divide by the root"),
        (folder(gamma=False), "gamma is missing"),
        (folder(rows=False), "you scaled the columns"),
        (folder(shift=lambda b, m, f, beta: b + beta - m * f), "the norm divides the old bias too"),
        (folder(shift=lambda b, m, f, beta: beta - m * f), "the old bias is lost"),
        (folder(shift=lambda b, m, f, beta: b * f - m + beta), "the mean is subtracted before the norm multiplies"),
        (folder(shift=lambda b, m, f, beta: (b + m) * f + beta), "subtracted, not added"),
        (folder(shift=lambda b, m, f, beta: 0 * b), "the bias is wrong"),
        (folder(root=lambda var, eps: 7 * var), "the weight is wrong"),
        (folder(shift=lambda b, m, f, beta: b[:1]), "expected the shapes (4, 4) and (4,)"),
        (changes_the_weight, "weight was changed in place"),
        (lambda *a: a[0], "return two arrays"),
        (lambda *a: None, "returns nothing"),
    ],
)
def test_mistakes_with_folding(answer, words, capsys):
    assert words in hint(check_fold, answer, capsys)

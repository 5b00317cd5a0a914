"""Modules, initial weights, functions and losses: against PyTorch, against differences, and when misused."""

import copy
import gc
import pickle
import weakref
from math import erfc, exp, log, pi, prod, sqrt

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import odyssey.nn.functional as F
from odyssey import Tensor, gradcheck, nn, no_grad
from odyssey.data import DataLoader, load_digits
from odyssey.nn.modules.initial import GAINS, fans, gain_of
from odyssey.nn.modules.normal import LONG, cdf_and_density, give_sign, scaled_erfc
from odyssey.optim import SGD, Adam
from tests.nn.reference import FOLDER, read_reference

REFERENCE = read_reference("modules")
CASES = [case for case, arrays in REFERENCE.items() if "g" in arrays]


def ours(case, a):
    """Our result for a case of the reference, and the leaves by name."""
    name, _, options = case.partition("/")
    leaves = {k: Tensor(v.copy(), requires_grad=True) for k, v in a.items() if "d" + k in a}
    x, last = leaves.get("x"), options.rsplit("), ", 1)[-1]
    if name == "cross_entropy":
        smoothing, reduction, ignored = last.split(", ")
        out = F.cross_entropy(leaves["z"], a["y"].astype(int), float(smoothing), reduction, int(ignored))
    elif name == "embedding":
        out = F.embedding(a["indices"].astype(int), leaves["weight"])
    elif name == "linear":
        out = F.linear(x, leaves["weight"], leaves.get("bias"))
    elif name == "mse_loss":
        out = F.mse_loss(x, leaves["target"], reduction=last)
    elif name in ("softmax", "log_softmax"):
        out = getattr(F, name)(x, axis=-1 if last == "large" else int(last))
    else:
        out = F.gelu(x, approximate="tanh") if name == "gelu_tanh" else getattr(F, name)(x)
    return out, leaves


# -- Functions and losses --------------------------------------------------------------------------


def test_the_reference_has_all_functions():
    assert {case.split("/")[0] for case in CASES} == {
        "relu", "tanh", "sigmoid", "silu", "gelu", "gelu_tanh", "softmax", "log_softmax", "linear", "embedding",
        "cross_entropy", "mse_loss",
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_pytorch(case):
    a = REFERENCE[case]
    out, leaves = ours(case, a)
    assert out.dtype == np.float64 and out.shape == a["out"].shape
    np.testing.assert_allclose(out.data, a["out"], rtol=1e-12, atol=1e-13)
    out.backward(a["g"])
    for name, leaf in leaves.items():
        np.testing.assert_allclose(leaf.grad, a["d" + name], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("case", CASES)
def test_float32_is_as_near_as_it_can_be(case):
    a = {k: v.astype(np.float32) for k, v in REFERENCE[case].items()}
    out, leaves = ours(case, a)
    assert out.dtype == np.float32
    out.backward(a["g"])
    for got, name in [(out.data, "out"), *((leaf.grad, "d" + k) for k, leaf in leaves.items())]:
        expected = REFERENCE[case][name]
        assert got.dtype == np.float32 and got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=3e-6 * (1 + np.abs(expected).max(initial=0)))


RNG = np.random.default_rng(0)
X, W, B = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(5, 4)), RNG.normal(size=5)
GRADCHECKS = {
    "linear": (F.linear, X, W, B),
    "linear without bias": (F.linear, X, W),
    "linear of a vector": (F.linear, X[0, 0], W, B),
    "embedding": (lambda w: F.embedding([[4, 0], [0, 2]], w), W),
    "relu": (F.relu, X),
    "tanh": (F.tanh, X),
    "sigmoid": (F.sigmoid, X),
    "silu": (F.silu, X),
    "gelu": (F.gelu, 2 * X),
    "gelu tanh": (lambda x: F.gelu(x, "tanh"), X),
    "gelu of many blocks": (F.gelu, RNG.normal(size=(300, 70))),
    "softmax": (F.softmax, X),
    "softmax axis 0": (lambda x: F.softmax(x, axis=0), X),
    "log_softmax": (F.log_softmax, X),
    "log_softmax axis 1": (lambda x: F.log_softmax(x, axis=1), X),
    "mse_loss": (F.mse_loss, X, X[::-1].copy()),
    "mse_loss none": (lambda x, y: F.mse_loss(x, y, "none"), X, X[::-1].copy()),
    **{
        f"cross_entropy {reduction} {smoothing}": (
            lambda z, r=reduction, s=smoothing: F.cross_entropy(z, [2, 0, -100, 3, 1], s, r), W)
        for reduction in ("mean", "sum", "none") for smoothing in (0.0, 0.3)
    },
    "cross_entropy of images": (lambda z: F.cross_entropy(z, [[0, 1, 2, 0], [2, 1, 0, 1]], 0.1), X),
}  # fmt: skip


@pytest.mark.parametrize("name", GRADCHECKS)
def test_gradients_against_differences(name):
    assert gradcheck(*GRADCHECKS[name])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "silu", "gelu", "softmax", "log_softmax"])
def test_dtypes_stay(name, dtype):
    x = Tensor(X.astype(dtype), requires_grad=True)
    out = getattr(F, name)(x)
    out.backward(np.ones(out.shape, dtype))
    assert out.dtype == x.grad.dtype == dtype


@given(
    array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=4),
    st.integers(1, 5), st.integers(1, 5), st.booleans(), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60, deadline=None, derandomize=True)
def test_linear_is_the_product_for_all_shapes(lead, n, m, bias, seed):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=s) for s in [(*lead, n), (m, n), (m,)][: 3 if bias else 2]]
    x, w, *b = (Tensor(a, requires_grad=True) for a in arrays)
    out = F.linear(x, w, *b)
    assert out.shape == (*lead, m)
    np.testing.assert_allclose(out.data, arrays[0] @ arrays[1].T + (arrays[2] if bias else 0), atol=1e-12)
    g = rng.normal(size=out.shape)
    out.backward(g)
    rows, upstream = arrays[0].reshape(-1, n), g.reshape(-1, m)
    np.testing.assert_allclose(x.grad, g @ arrays[1], atol=1e-12)
    np.testing.assert_allclose(w.grad, upstream.T @ rows, atol=1e-12)
    if bias:
        np.testing.assert_allclose(b[0].grad, upstream.sum(axis=0), atol=1e-12)


@given(
    array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4), st.integers(1, 70), st.sampled_from([0.0, 0.1, 1.0]),
    st.sampled_from(["mean", "sum", "none"]), st.sampled_from([-100, 0, -1]), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=120, deadline=None, derandomize=True)
def test_cross_entropy_is_the_formula_for_all_shapes(places, classes, smoothing, reduction, ignore, seed):
    """(C,), (N, C), (N, C, d): the sum of -q log p over targets that count; its gradient p - q."""
    rng = np.random.default_rng(seed)
    shape = (*places[:1], classes, *places[1:])
    z, y = rng.normal(size=shape), np.asarray(rng.integers(0, classes, places))
    y[rng.random(places) < 0.3] = ignore
    axis, counts = min(1, len(places)), y != ignore
    log_p = z - np.log(np.exp(z).sum(axis=axis, keepdims=True))
    hot = np.moveaxis(np.eye(classes)[np.where(counts, y, 0)], -1, axis)
    q = (1 - smoothing) * hot + smoothing / classes
    each = np.where(counts, -np.sum(q * log_p, axis=axis), 0)
    x = Tensor(z, requires_grad=True)
    loss = F.cross_entropy(x, y, smoothing, reduction, ignore)
    used = max(int(counts.sum()), 1)
    expected = {"none": each, "sum": each.sum(), "mean": each.sum() / used if counts.any() else np.nan}[reduction]
    np.testing.assert_allclose(loss.data, expected, atol=1e-12)
    g = np.asarray(rng.normal(size=loss.shape))
    loss.backward(g)
    upstream = np.expand_dims(counts * g / (used if reduction == "mean" else 1), axis)
    np.testing.assert_allclose(x.grad, (np.exp(log_p) - q) * upstream, atol=1e-12)


@given(
    array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4), st.integers(1, 6), st.integers(1, 4),
    st.sampled_from([np.int64, np.int8, np.uint16]), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60, deadline=None, derandomize=True)
def test_embedding_is_a_product_with_one_hot_rows(shape, rows, dim, dtype, seed):
    rng = np.random.default_rng(seed)
    table, chosen = rng.normal(size=(rows, dim)), np.asarray(rng.integers(0, rows, shape)).astype(dtype)
    w = Tensor(table, requires_grad=True)
    out = F.embedding(chosen, w)
    hot = np.eye(rows)[chosen]
    assert out.shape == (*shape, dim)
    np.testing.assert_allclose(out.data, hot @ table, atol=1e-14)
    g = rng.normal(size=out.shape)
    out.backward(g)
    np.testing.assert_allclose(w.grad, hot.reshape(-1, rows).T @ g.reshape(-1, dim), atol=1e-12)


@given(array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=3), st.integers(0, 99))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_flatten_and_nonlinearities_keep_what_they_should(shape, seed):
    data = 3 * np.random.default_rng(seed).normal(size=shape)
    x = Tensor(data, requires_grad=True)
    flat = nn.Flatten()(x)
    assert flat.shape == (shape[0], prod(shape[1:])) and np.array_equal(flat.data.reshape(shape), data)
    for name in ("relu", "silu", "gelu"):
        f = getattr(F, name)
        there, back = f(x).data, f(Tensor(-data)).data
        # x·s(x) with s(x) + s(-x) = 1, so that f(x) - f(-x) = x: all three are between 0 and x for x > 0
        np.testing.assert_allclose(there - back, data, atol=1e-12)
        assert there.shape == shape and np.all(there <= np.maximum(data, 0)) and np.all(there >= -0.3)


@given(array_shapes(min_dims=1, max_dims=3, max_side=5), st.floats(-1e4, 1e4), st.integers(0, 99))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_softmax_sums_to_one_and_forgets_a_shift(shape, shift, seed):
    x = np.random.default_rng(seed).normal(size=shape)
    p = F.softmax(Tensor(x + shift)).data
    np.testing.assert_allclose(p.sum(axis=-1), 1)
    np.testing.assert_allclose(p, F.softmax(Tensor(x)).data, atol=1e-10)
    np.testing.assert_allclose(F.log_softmax(Tensor(x)).data, np.log(p), atol=1e-10)


def test_softmax_of_masked_rows():
    x = Tensor(np.array([[-np.inf, 0.0, 0.0], [-np.inf] * 3]), requires_grad=True)
    p = F.softmax(x)
    p.backward(np.ones((2, 3)))
    assert p.data.tolist() == [[0, 0.5, 0.5], [0, 0, 0]] and not np.any(np.isnan(x.grad))


def test_what_is_not_a_number_shows():
    """A NaN goes through, as in PyTorch: no layer hides it. A class that is masked by -inf gets the probability 0."""
    bad = X.copy()
    bad[0, 1, 2] = np.nan
    for f in (F.relu, F.tanh, F.sigmoid, F.silu, F.gelu, lambda x: F.gelu(x, "tanh")):
        assert np.array_equal(np.isnan(f(Tensor(bad)).data), np.isnan(bad))
    row = np.isnan(bad).any(axis=-1)
    for f in (F.softmax, F.log_softmax, lambda x: F.linear(x, Tensor(W), Tensor(B))):
        assert np.array_equal(np.isnan(f(Tensor(bad)).data).any(axis=-1), row)
    each = F.cross_entropy(Tensor(bad[0]), [0, 1, 2], reduction="none").data
    assert np.array_equal(np.isnan(each), row[0])
    # ... but a row that does not count is not looked at
    z = Tensor(bad[0], requires_grad=True)
    loss = F.cross_entropy(z, [0, -100, 2], 0.1)
    loss.backward()
    assert np.isfinite(loss.item()) and np.all(np.isfinite(z.grad)) and not z.grad[1].any()
    z = Tensor(np.array([[-np.inf, 0.0, 0.0]]), requires_grad=True)
    loss = F.cross_entropy(z, [1])
    loss.backward()
    assert np.isclose(loss.item(), log(2)) and np.allclose(z.grad, [[0, -0.5, 0.5]])


def test_scalars_and_arrays_are_inputs_too():
    assert F.softmax(Tensor(np.array(3.0))).item() == 1 and F.log_softmax(Tensor(np.array(3.0))).item() == 0
    loss = F.mse_loss(np.array([1.0, 2.0]), [3.0, 2.0])
    assert isinstance(loss, Tensor) and loss.item() == 2
    assert nn.Linear(4, 2)(X.astype(np.float32)).shape == (2, 3, 2)
    assert F.cross_entropy(W, [0, 1, 2, 3, 0]).item() == F.cross_entropy(Tensor(W), [0, 1, 2, 3, 0]).item()


def test_the_normal_distribution():
    for dtype, tolerance in ((np.float64, 5e-15), (np.float32, 3e-7)):
        x = np.linspace(-12, 12, 4001).astype(dtype)
        cdf, density = np.empty_like(x), np.empty_like(x)
        cdf_and_density(x, cdf, density)
        assert np.abs(cdf - [erfc(-v / sqrt(2)) / 2 for v in x.tolist()]).max() < tolerance
        assert np.abs(density - [exp(-v * v / 2) / sqrt(2 * pi) for v in x.tolist()]).max() < tolerance
    assert abs(scaled_erfc(6.4999) / scaled_erfc(6.5001) - 1) < 1e-4 and len(LONG) == 14


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_signs_on_the_bits_are_those_of_copysign(dtype):
    x = np.array([1, -2, 0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-7, -1e-7], dtype)
    values = np.linspace(0, 3, len(x)).astype(dtype)
    expected = np.copysign(values, x)
    give_sign(values, x)
    assert np.array_equal(values, expected) and np.array_equal(np.signbit(values), np.signbit(x))


def test_cross_entropy_by_hand():
    z = Tensor(np.array([[2.0, 1.0, 0.0]]), requires_grad=True)
    F.cross_entropy(z, [0]).backward()
    np.testing.assert_allclose(z.grad[0], [-0.334759, 0.244728, 0.090031], atol=1e-6)
    assert np.isclose(F.cross_entropy(Tensor(np.zeros((4, 10))), [1, 2, 3, 4]).item(), log(10))


def test_a_mean_of_no_targets_is_nan_and_moves_nothing():
    z = Tensor(np.ones((2, 3)), requires_grad=True)
    loss = F.cross_entropy(z, [-100, -100])
    loss.backward()
    assert np.isnan(loss.item()) and not z.grad.any()


def test_targets_may_be_a_tensor_or_small_integers():
    z = Tensor(W)
    expected = F.cross_entropy(z, [0, 1, 2, 3, 0]).item()
    for y in (Tensor(np.array([0, 1, 2, 3, 0])), np.array([0, 1, 2, 3, 0], np.uint8)):
        assert F.cross_entropy(z, y).item() == expected


Z = Tensor(W)
BAD = {
    "linear: features": (lambda: F.linear(Tensor(X), Tensor(np.ones((5, 3)))), ValueError, "linear: expected x"),
    "linear: a scalar": (lambda: F.linear(Tensor(np.float64(1)), Z), ValueError, "linear: expected x"),
    "linear: bias": (lambda: F.linear(Tensor(X), Z, Tensor(np.ones(4))), ValueError, "expected bias"),
    "Linear: features": (lambda: nn.Linear(3, 2)(Tensor(X)), ValueError, r"Linear\(3, 2\): expected input"),
    "Linear: zero": (lambda: nn.Linear(0, 2), ValueError, "Linear: expected in_features"),
    "Linear: float": (lambda: nn.Linear(3, 2.0), TypeError, "Linear: expected out_features"),
    "Linear: bool": (lambda: nn.Linear(True, 2), TypeError, "Linear: expected in_features"),
    "Linear: seed for rng": (lambda: nn.Linear(3, 2, rng=0), TypeError, "Linear: .* numpy Generator, got int"),
    "init: seed for rng": (lambda: nn.init.normal_(nn.Parameter(W), rng=0), TypeError, "init: .* numpy Generator"),
    "init: an array": (lambda: nn.init.normal_(W), TypeError, "init: expected a Parameter to fill, got ndarray"),
    "init: a list": (lambda: nn.init.xavier_uniform_([1.0]), TypeError, "init: expected a Parameter to fill, got list"),
    "init: empty": (lambda: nn.init.kaiming_normal_(nn.Parameter(np.ones((3, 0)))), ValueError, "none empty"),
    "init: nan": (lambda: nn.init.normal_(nn.Parameter(W), std=np.nan), ValueError, "normal_: .* got 0.0 and nan"),
    "Linear: a list": (lambda: nn.Linear(2, 2)([1.0, 2.0]), ValueError, "got a list, no Tensor"),
    "linear: a list": (lambda: F.linear([1.0], Z), ValueError, r"linear: .* got a list, no Tensor and \(5, 4\)"),
    "linear: weight": (lambda: F.linear(Z, [[1.0]]), ValueError, r"linear: .* got \(5, 4\) and a list"),
    "Flatten: a scalar": (lambda: nn.Flatten()(Tensor(np.float64(1))), ValueError, r"Flatten: .* got \(\)"),
    "embedding: floats": (lambda: F.embedding([0.0], Z), TypeError, "embedding: expected integers, got float64; conv"),
    "embedding: bools": (lambda: F.embedding([True], Z), TypeError, "embedding: expected integers, got bool"),
    "embedding: text": (lambda: F.embedding("ab", Z), TypeError, "embedding: expected integers"),
    "embedding: ragged": (lambda: F.embedding([[1], [1, 2]], Z), ValueError, "embedding: expected rows of equal"),
    "embedding: a vector": (lambda: F.embedding([0], Z[0]), ValueError, r"expected a table .* got \(4,\)"),
    "embedding: a list": (lambda: F.embedding([0], [[1.0]]), ValueError, "expected a table .* got a list"),
    "embedding: one of many": (lambda: F.embedding([[0, 1], [2, 9]], Z), IndexError, "index 9 in a table of 5 rows"),
    "embedding: large": (lambda: F.embedding([0, 5], Z), IndexError, "index 5 in a table of 5"),
    "embedding: negative": (lambda: F.embedding([-1], Z), IndexError, "index -1"),
    "Embedding: zero": (lambda: nn.Embedding(0, 2), ValueError, "Embedding: expected num_embeddings"),
    "Embedding: negative": (lambda: nn.Embedding(5, 2)(np.array([[0], [-3]])), IndexError, "index -3"),
    "cross_entropy: floats": (
        lambda: F.cross_entropy(Z, np.ones(5)), TypeError, "cross_entropy: expected integers, .* log_softmax"),
    "cross_entropy: bools": (lambda: F.cross_entropy(Z, np.ones(5, bool)), TypeError, "expected integers, got bool"),
    "cross_entropy: one-hot": (
        lambda: F.cross_entropy(Z, np.eye(5, 4, dtype=int)), ValueError, r"got \(5, 4\); of one-hot .* argmax"),
    "cross_entropy: ragged": (lambda: F.cross_entropy(Z, [[1], [1, 2]]), ValueError, "cross_entropy: .* equal length"),
    "cross_entropy: small integers": (
        lambda: F.cross_entropy(Z, np.full(5, 255, np.uint8)), IndexError, "target 255 among 4"),
    "cross_entropy: very negative": (
        lambda: F.cross_entropy(Z, np.full(5, np.iinfo(np.int64).min)), IndexError, "target -9223372036854775808"),
    "cross_entropy: no classes": (
        lambda: F.cross_entropy(Tensor(np.ones((2, 0))), [0, 0]), ValueError, r"of some classes, got \(2, 0\)"),
    "cross_entropy: integer logits": (
        lambda: F.cross_entropy(Tensor(np.ones((2, 3), int)), [0, 1]), TypeError, r"expected float logits, .* int\d+"),
    "cross_entropy: a list": (lambda: F.cross_entropy([[1.0]], [0]), TypeError, "expected float logits, .* got list"),
    "cross_entropy: nan smoothing": (
        lambda: F.cross_entropy(Z, [0] * 5, label_smoothing=np.nan), ValueError, r"in \[0, 1\], got nan"),
    "cross_entropy: text smoothing": (
        lambda: F.cross_entropy(Z, [0] * 5, label_smoothing="a"), ValueError, r"in \[0, 1\], got 'a'"),
    "cross_entropy: ignore_index": (
        lambda: F.cross_entropy(Z, [0] * 5, ignore_index=0.5), TypeError, "ignore_index to be a whole number"),
    "softmax: integers": (lambda: F.softmax(Tensor([1, 2])), TypeError, "softmax: expected floats, got int64"),
    "log_softmax: integers": (lambda: F.log_softmax(Tensor([1, 2])), TypeError, "log_softmax: expected floats"),
    "gelu: integers": (lambda: F.gelu(Tensor([1, 2])), TypeError, "gelu: expected floats, got int64"),
    "softmax: axis": (lambda: F.softmax(Z, axis=2), np.exceptions.AxisError, "softmax: axis 2 is out of bounds"),
    "softmax: of nothing": (lambda: F.softmax(Tensor(np.ones((2, 0)))), ValueError, "softmax: zero-size"),
    "cross_entropy: large": (lambda: F.cross_entropy(Z, [0, 1, 2, 3, 4]), IndexError, "target 4 among 4"),
    "cross_entropy: negative": (lambda: F.cross_entropy(Z, [0, 1, 2, 3, -1]), IndexError, "target -1"),
    "cross_entropy: length": (
        lambda: F.cross_entropy(Z, [0, 1]), ValueError, r"need targets of shape \(5,\), got \(2,\)"),
    "cross_entropy: scalar": (lambda: F.cross_entropy(Tensor(np.float64(1)), 0), ValueError, "cross_entropy"),
    "cross_entropy: smoothing": (
        lambda: F.cross_entropy(Z, [0] * 5, label_smoothing=1.1), ValueError, r"label_smoothing in \[0, 1\]"),
    "cross_entropy: reduction": (
        lambda: F.cross_entropy(Z, [0] * 5, reduction="avg"), ValueError, "expected reduction"),
    "mse_loss: shapes": (lambda: F.mse_loss(Tensor(X), Tensor(X[0])), ValueError, "expected equal shapes"),
    "mse_loss: reduction": (lambda: F.mse_loss(Z, Z, reduction=None), ValueError, "expected reduction"),
    "gelu": (lambda: F.gelu(Z, "fast"), ValueError, "expected approximate"),
    "GELU": (lambda: nn.GELU("fast"), ValueError, "expected approximate"),
    "Sequential: a function": (lambda: nn.Sequential(F.relu), TypeError, "expected modules"),
    "Sequential: a list": (lambda: nn.Sequential([nn.ReLU()]), TypeError, "got list at 0; .* one by one"),
    "ModuleList: a module": (lambda: nn.ModuleList(nn.ReLU()), TypeError, "expected a list of modules, got ReLU"),
    "train: text": (lambda: nn.ReLU().train("no"), TypeError, "ReLU.train: expected True or False, got 'no'"),
    "ModuleList: a number": (lambda: nn.ModuleList([nn.ReLU(), 3]), TypeError, "at 1"),
    "to: integers": (lambda: nn.Linear(2, 2).to(np.int64), TypeError, "expected a float dtype"),
    "no forward": (lambda: nn.Module()(1), NotImplementedError, "define forward"),
    "gain": (lambda: gain_of("sine"), ValueError, "unknown nonlinearity 'sine'"),
    "fans": (lambda: nn.init.xavier_normal_(nn.Parameter(np.ones(3))), ValueError, "at least two axes"),
    "mode": (lambda: nn.init.kaiming_normal_(nn.Parameter(W), mode="fan"), ValueError, "expected mode"),
    "normal_": (lambda: nn.init.normal_(nn.Parameter(W), std=-1.0), ValueError, "std >= 0"),
    "uniform_": (lambda: nn.init.uniform_(nn.Parameter(W), 1.0, 0.0), ValueError, "low <= high"),
    "uniform_: inf": (lambda: nn.init.uniform_(nn.Parameter(W), 0.0, np.inf), ValueError, "finite"),
    "Parameter of integers": (lambda: nn.Parameter(np.arange(3)), TypeError, "float"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_mistakes_are_named(name):
    run, kind, words = BAD[name]
    with pytest.raises(kind, match=words):
        run()


# -- The tree --------------------------------------------------------------------------------------


class Block(nn.Module):
    """A module with everything: a parameter of its own, a buffer, modules, a list, something shared."""

    buffers = ("count", "mean")

    def __init__(self, rng=None):
        self.scale = nn.Parameter(np.ones(3, np.float32))
        self.count, self.mean = np.array(0), np.zeros(3, np.float32)
        self.first = nn.Linear(3, 3, rng=rng)
        self.rest = nn.ModuleList([nn.Linear(3, 3, rng=rng), nn.Sequential(nn.Linear(3, 3, rng=rng), nn.ReLU())])
        self.again = self.first
        self.tied = nn.Linear(3, 3, bias=False, rng=rng)
        self.tied.weight = self.first.weight
        self.note, self.numbers, self.constant = "text", [1, 2], Tensor(np.ones(3, np.float32))

    def forward(self, x):
        x = self.tied(self.again(self.first(x * self.scale)))
        for module in self.rest:
            x = module(x)
        return x


NAMES = ["scale", "first.weight", "first.bias", "rest.0.weight", "rest.0.bias", "rest.1.0.weight", "rest.1.0.bias"]


def test_names_are_paths_and_shared_parameters_come_once():
    block = Block()
    assert [name for name, _ in block.named_parameters()] == NAMES
    assert len({id(p) for p in block.parameters()}) == len(NAMES)
    paths = ["", "first", "rest", "rest.0", "rest.1", "rest.1.0", "rest.1.1", "tied"]
    assert [path for path, _ in block.named_modules()] == paths
    assert [name for name, _ in block.named_children()] == ["first", "rest", "again", "tied"]
    assert len(list(block.modules())) == len(paths)


def test_a_shared_parameter_gets_the_sum_and_moves_once():
    block = Block(np.random.default_rng(0)).to(np.float64)
    x = Tensor(np.random.default_rng(1).normal(size=(4, 3)))
    np.sum(np.square(block(x))).backward()
    before, g = block.first.weight.data.copy(), block.first.weight.grad.copy()
    SGD(block.parameters(), lr=0.1).step()
    np.testing.assert_allclose(block.first.weight.data, before - 0.1 * g)
    assert block.tied.weight is block.first.weight


@pytest.mark.parametrize(
    "hidden",
    [
        [nn.ReLU()], (nn.Linear(1, 1),), {"a": nn.ReLU()}, [nn.Parameter(np.ones(1))],
        [1, [[nn.ReLU()]]], {"a": [nn.Linear(1, 1)]},
    ],
)  # fmt: skip
def test_plain_containers_are_refused(hidden):
    block = Block()
    block.layers = hidden
    for use in (block.state_dict, lambda: list(block.parameters()), block.eval, lambda: repr(block)):
        with pytest.raises(TypeError, match=r"'layers' is a .* use ModuleList"):
            use()


def test_module_list_and_sequential_are_lists():
    layers = nn.ModuleList([nn.ReLU(), nn.Tanh()])
    layers.append(nn.SiLU())
    assert len(layers) == 3 and isinstance(layers[-1], nn.SiLU) and [type(m) for m in layers[:2]] == [nn.ReLU, nn.Tanh]
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.ReLU())
    assert isinstance(net[1:], nn.Sequential) and net[1:][0] is net[1]
    x = Tensor(np.ones((3, 2, 2), np.float32))
    assert net(x).shape == (3, 2) and nn.Sequential()(x) is x
    with pytest.raises(IndexError):
        net[3]


def test_layers_are_their_functions():
    x = Tensor(X.astype(np.float32))
    for kind in ("ReLU", "Tanh", "Sigmoid", "SiLU", "GELU"):
        assert np.array_equal(getattr(nn, kind)()(x).data, getattr(F, kind.lower())(x).data)
    assert np.array_equal(nn.GELU("tanh")(x).data, F.gelu(x, "tanh").data)
    table = nn.Embedding(5, 2)
    assert np.array_equal(table([[1, 4]]).data, table.weight.data[[[1, 4]]])
    assert nn.Linear(4, 2, bias=False)(x).shape == (2, 3, 2)


def test_modes_freezing_and_apply():
    block = Block()
    assert block.training and block.eval() is block
    assert not any(m.training for m in block.modules()) and nn.ReLU().training
    assert block.train() is block and all(m.training for m in block.modules())
    assert not any(p.requires_grad for p in block.requires_grad_(False).parameters())
    assert all(p.requires_grad for p in block.requires_grad_().parameters())
    np.sum(block(Tensor(np.ones((2, 3), np.float32)))).backward()
    assert all(p.grad is not None for p in block.parameters())
    block.zero_grad()
    assert all(p.grad is None for p in block.parameters())
    seen = []
    block.apply(lambda m: seen.append(type(m).__name__))
    assert seen[-1] == "Block" and len(seen) == 8


@pytest.mark.parametrize("dtype", [np.float64, np.float16, "float64"])
def test_to_converts_floats_in_place(dtype):
    block = Block()
    weight = block.first.weight
    assert block.to(dtype) is block and block.first.weight is weight is block.tied.weight
    assert all(p.dtype == np.dtype(dtype) for p in block.parameters())
    assert block.mean.dtype == np.dtype(dtype) and block.count.dtype.kind == "i"


def test_repr_is_a_tree_with_counts():
    net = nn.Sequential(
        nn.Linear(6, 8), nn.Sequential(nn.GELU("tanh"), nn.Embedding(4, 2)), nn.Linear(8, 3, bias=False)
    )
    lines = ["Sequential(", "  (0): Linear(6, 8)  # 56", "  (1): Sequential(", "    (0): GELU(approximate='tanh')"]
    lines += ["    (1): Embedding(4, 2)  # 8", "  )  # 8 parameters", "  (2): Linear(8, 3, bias=False)  # 24"]
    assert repr(net).splitlines() == [*lines, ")  # 88 parameters"]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_equal_and_apart(copied):
    block = Block(np.random.default_rng(0))
    other = copied(block)
    x = Tensor(np.ones((2, 3), np.float32))
    assert np.array_equal(block(x).data, other(x).data)
    assert other.tied.weight is other.first.weight is other.again.weight
    assert [name for name, _ in other.named_parameters()] == NAMES
    other.first.weight.data[:] = 0
    assert block.first.weight.data.any()


def test_a_forward_pass_leaves_no_cycles():
    net = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 3))
    x = Tensor(np.ones((2, 4), np.float32))
    gc.collect()
    gc.disable()
    try:
        F.cross_entropy(net(x), [0, 1], 0.1).backward()
        with no_grad():
            net(x)
        assert gc.collect() == 0
        freed = weakref.ref(net)
        net.state_dict(), list(net.named_parameters()), repr(net)
        del net
        assert freed() is None
    finally:
        gc.enable()


# -- The state -------------------------------------------------------------------------------------


def test_the_state_has_buffers_and_every_path():
    state = Block().state_dict()
    again = ["again.weight", "again.bias", "tied.weight"]
    assert set(state) == {*NAMES, *again, "count", "mean"} and all(type(v) is np.ndarray for v in state.values())


def test_the_state_goes_into_another_model_and_is_a_copy():
    one, two = Block(np.random.default_rng(0)), Block(np.random.default_rng(1))
    one.count, one.mean = np.array(7), np.full(3, 0.5, np.float32)
    state = one.state_dict()
    assert two.load_state_dict(state) == ([], [])
    assert all(np.array_equal(two.state_dict()[k], v) for k, v in state.items())
    assert two.count == 7 and two.tied.weight is two.first.weight
    state["first.weight"][:] = 99
    assert not np.any(one.first.weight.data == 99) and not np.any(two.first.weight.data == 99)


def test_dtypes_of_the_model_stay():
    net = nn.Linear(3, 2)
    net.load_state_dict(copy.deepcopy(net).to(np.float64).state_dict())
    assert net.weight.dtype == np.float32
    net.load_state_dict({"weight": np.ones((2, 3), int), "bias": Tensor(np.ones(2))})
    assert net.weight.dtype == net.bias.dtype == np.float32


WRONG = {
    "shape": ({"rest.0.weight": np.zeros((3, 2))}, "rest.0.weight has shape"),
    "transposed bias": ({"first.bias": np.zeros((3, 1))}, "first.bias has shape"),
    "unexpected": ({"extra": np.zeros(3)}, r"unexpected \['extra'\]"),
    "missing": ({"mean": None}, r"missing \['mean'\]"),
    "text": ({"scale": "abc"}, "scale has shape"),
    "objects": ({"scale": np.array([None] * 3)}, "scale has shape"),
    "complex": ({"scale": np.ones(3, complex)}, "complex"),
    "ragged": ({"scale": [[1, 2], [3]]}, "scale is no array"),
    "records": ({"scale": np.zeros(3, [("a", "f4")])}, "scale has shape"),
    "empty": ({"scale": np.zeros(0)}, r"scale has shape \(0,\)"),
    "buffer": ({"mean": np.zeros(4)}, "mean has shape"),
    "the last one": ({"tied.weight": np.zeros((3, 4))}, "tied.weight has shape"),
    "numbers for names": ({0: np.zeros(3)}, r"unexpected \[0\]"),
}


@pytest.mark.parametrize("name", WRONG)
def test_loading_is_all_or_nothing(name):
    block = Block(np.random.default_rng(0))
    before = block.state_dict()
    change, words = WRONG[name]
    state = {k: np.zeros_like(v) for k, v in before.items()} | change
    if name == "missing":
        del state["mean"]
    with pytest.raises(ValueError, match=words):
        block.load_state_dict(state)
    assert all(np.array_equal(block.state_dict()[k], v) for k, v in before.items())


def test_not_strict_tells_what_did_not_match():
    net = nn.Linear(3, 2)
    bias = net.bias.data.copy()
    keys = net.load_state_dict({"weight": np.ones((2, 3)), "more": np.ones(1)}, strict=False)
    assert keys.missing_keys == ["bias"] and keys.unexpected_keys == ["more"]
    assert np.all(net.weight.data == 1) and np.array_equal(net.bias.data, bias)
    with pytest.raises(ValueError, match="weight has shape"):
        net.load_state_dict({"weight": np.ones((3, 2))}, strict=False)
    with pytest.raises(TypeError, match="expected a dict"):
        net.load_state_dict([1, 2])


def exchanged():
    hidden = nn.Sequential(nn.Linear(6, 8), nn.ReLU())
    return nn.Sequential(nn.Embedding(5, 6), hidden, nn.Linear(8, 3, bias=False))


def test_a_file_that_pytorch_wrote_loads_here():
    theirs = safetensors.numpy.load_file(FOLDER / "modules.safetensors")
    model = exchanged()
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in theirs.items()}
    assert model.load_state_dict(theirs) == ([], [])
    out = model.to(np.float64)(REFERENCE["exchange"]["words"].astype(int))
    np.testing.assert_allclose(out.data, REFERENCE["exchange"]["out"], rtol=1e-12, atol=1e-14)


def test_a_file_that_we_write_is_the_one_that_pytorch_reads(tmp_path):
    """Byte for byte the file that PyTorch wrote and that make_modules.py loads into its model again."""
    theirs = (FOLDER / "modules.safetensors").read_bytes()
    model = exchanged()
    model.load_state_dict(safetensors.numpy.load(theirs))
    safetensors.numpy.save_file(model.state_dict(), tmp_path / "ours.safetensors", metadata={"format": "pt"})
    assert (tmp_path / "ours.safetensors").read_bytes() == theirs
    model[0].weight.data[0, 0] += 1  # a test that cannot fail proves nothing
    safetensors.numpy.save_file(model.state_dict(), tmp_path / "ours.safetensors", metadata={"format": "pt"})
    assert (tmp_path / "ours.safetensors").read_bytes() != theirs


def test_a_transposed_array_is_stored_row_by_row(tmp_path):
    kernel = np.arange(6.0).reshape(2, 3)
    layer = nn.Linear(2, 3, bias=False)
    layer.load_state_dict({"weight": kernel.T})
    assert layer.weight.data.flags.c_contiguous
    layer.weight.data = np.asfortranarray(layer.weight.data)
    safetensors.numpy.save_file(layer.state_dict(), tmp_path / "weights.safetensors")
    assert np.array_equal(safetensors.numpy.load_file(tmp_path / "weights.safetensors")["weight"], kernel.T)


def grown(sizes, rng):
    """A tree of modules from a nested list of widths: 3 is a Linear(2, 3), a list a Sequential or a ModuleList."""
    if isinstance(sizes, int):
        return nn.Linear(2, sizes, bias=bool(sizes % 2), rng=rng)
    below = [grown(part, rng) for part in sizes]
    return nn.Sequential(*below) if len(below) % 2 else nn.ModuleList(below)


@given(st.recursive(st.integers(1, 4), lambda parts: st.lists(parts, max_size=3), max_leaves=8), st.booleans())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_state_of_any_tree_goes_through_a_file(sizes, double):
    one, two = (grown(sizes, np.random.default_rng(seed)) for seed in (0, 1))
    one.to(np.float64 if double else np.float32)
    state = one.state_dict()
    assert list(state) == [name for name, _ in one.named_parameters()]
    back = safetensors.numpy.load(safetensors.numpy.save(state))
    assert two.load_state_dict(back) == ([], []) and all(p.dtype == np.float32 for p in two.parameters())
    for name, array in two.state_dict().items():
        assert np.array_equal(array, state[name].astype(np.float32))
    if state:
        first = next(iter(state))
        with pytest.raises(ValueError, match=r"missing \['" + first.replace(".", r"\.")):
            two.load_state_dict({name: array for name, array in back.items() if name != first})


# -- Initial weights -------------------------------------------------------------------------------


def test_gains_are_those_of_pytorch():
    for name in GAINS:
        assert np.isclose(gain_of(name), REFERENCE["gain"][name], rtol=1e-7)
    assert np.isclose(gain_of("leaky_relu", 0.2), REFERENCE["gain"]["leaky_relu"])


FORMULAS = {
    "xavier_uniform": (nn.init.xavier_uniform_, {"gain": 2.0}, lambda i, o: 8 / (i + o)),
    "xavier_normal": (nn.init.xavier_normal_, {}, lambda i, o: 2 / (i + o)),
    "kaiming_uniform": (nn.init.kaiming_uniform_, {"nonlinearity": "relu"}, lambda i, o: 2 / i),
    "kaiming_uniform a": (nn.init.kaiming_uniform_, {"a": sqrt(5)}, lambda i, o: 1 / (3 * i)),
    "kaiming_normal": (nn.init.kaiming_normal_, {}, lambda i, o: 2 / i),
    "kaiming_normal out": (nn.init.kaiming_normal_, {"mode": "fan_out", "nonlinearity": "tanh"},
                           lambda i, o: 25 / 9 / o),
    "normal": (nn.init.normal_, {"std": 0.3}, lambda i, o: 0.09),
    "uniform": (nn.init.uniform_, {"low": -1.0}, lambda i, o: 1 / 3),
}  # fmt: skip


@pytest.mark.parametrize("shape", [(300, 200), (80, 30, 5, 5)])
@pytest.mark.parametrize("name", FORMULAS)
def test_variances_are_those_of_the_formulas(name, shape):
    function, options, formula = FORMULAS[name]
    p = nn.Parameter(np.empty(shape, np.float32))
    assert function(p, rng=np.random.default_rng(0), **options) is p and p.dtype == np.float32
    variance = float(np.var(p.data))
    assert abs(variance / formula(*fans(shape)) - 1) < 0.03
    assert abs(p.data.mean()) < 5 * sqrt(variance / p.size)
    other = function(nn.Parameter(np.empty(shape, np.float32)), rng=np.random.default_rng(0), **options)
    assert np.array_equal(p.data, other.data)
    fresh = [function(nn.Parameter(np.empty(shape, np.float32)), **options).data for _ in range(2)]
    assert not np.array_equal(*fresh)


def test_fans_and_constants():
    assert fans((3, 5)) == (5, 3) and fans((4, 3, 2, 2)) == (12, 16)
    assert np.all(nn.init.constant_(nn.Parameter(W), 0.5).data == 0.5)


def test_the_default_of_linear_is_that_of_pytorch():
    layer = nn.Linear(100, 2000, rng=np.random.default_rng(0))
    for p in (layer.weight, layer.bias):
        assert p.dtype == np.float32 and np.abs(p.data).max() <= 0.1 and abs(p.data.std() * sqrt(3) - 0.1) < 0.002
    table = nn.Embedding(1000, 100, rng=np.random.default_rng(0)).weight.data
    assert abs(table.std() - 1) < 0.01 and abs(table.mean()) < 0.01


def test_one_generator_makes_different_layers_and_the_same_again():
    def make():
        rng = np.random.default_rng(0)
        return nn.Sequential(nn.Linear(3, 3, rng=rng), nn.Linear(3, 3, rng=rng))

    one, two = make(), make()
    assert np.array_equal(one[1].weight.data, two[1].weight.data)
    assert not np.array_equal(one[0].weight.data, one[1].weight.data)


# -- All together ----------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU])
def test_a_stack_learns_the_digits(activation):
    digits, rng = load_digits(), np.random.default_rng(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32, rng=rng), activation(), nn.Linear(32, 10, rng=rng))
    optimizer = Adam(net.parameters(), lr=0.01)
    for _ in range(8):
        for images, labels in DataLoader(*digits["train"], batch_size=64, rng=rng):
            F.cross_entropy(net(Tensor(images)), labels, label_smoothing=0.05).backward()
            optimizer.step()
            net.zero_grad()
    images, labels = digits["test"]
    with no_grad():
        assert np.mean(net(Tensor(images)).data.argmax(axis=1) == labels) > 0.93


def test_embeddings_and_layers_learn_a_sum():
    """(a + b) mod 7 from two looked-up vectors: the gradient reaches the table through the whole stack."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(
        nn.Embedding(7, 8, rng=rng), nn.Flatten(), nn.Linear(16, 32, rng=rng), nn.SiLU(), nn.Linear(32, 7, rng=rng)
    )
    pairs = np.stack(np.meshgrid(np.arange(7), np.arange(7)), axis=-1).reshape(-1, 2)
    answers = pairs.sum(axis=1) % 7
    start, optimizer = net[0].weight.data.copy(), Adam(net.parameters(), lr=0.01)
    first = F.cross_entropy(net(pairs), answers).item()
    for _ in range(150):
        loss = F.cross_entropy(net(pairs), answers)
        loss.backward()
        optimizer.step()
        net.zero_grad()
    assert first > 1.5 > 0.1 > loss.item() and np.all(net(pairs).data.argmax(axis=1) == answers)
    assert np.all(np.abs(net[0].weight.data - start).max(axis=1) > 0.05)


@pytest.mark.parametrize("fill, learns", [("kaiming_normal_", True), ("normal_", False)])
def test_fifty_layers_learn_only_if_the_signal_survives(fill, learns):
    rng = np.random.default_rng(0)
    layers = [m for _ in range(50) for m in (nn.Linear(32, 32, rng=rng), nn.Tanh())]
    net = nn.Sequential(nn.Linear(64, 32, rng=rng), *layers, nn.Linear(32, 10, rng=rng))
    for p in net.parameters():
        if p.ndim == 2:
            getattr(nn.init, fill)(p, **({} if learns else {"std": 0.01}), rng=rng)
        else:
            nn.init.constant_(p, 0.0)
    images, labels = load_digits()["train"]
    images, optimizer = images.reshape(-1, 64)[:256], Adam(net.parameters(), lr=1e-3)
    for _ in range(40):
        loss = F.cross_entropy(net(Tensor(images)), labels[:256])
        loss.backward()
        optimizer.step()
        net.zero_grad()
    assert (loss.item() < 1.8) if learns else (loss.item() > 2.25)


def test_functions_of_arrays_give_tensors_too():
    W = np.arange(6.0).reshape(3, 2)
    looked, mapped = F.embedding([2, 0], W), F.linear(np.ones((4, 2)), W)
    assert type(looked) is Tensor and np.array_equal(looked.data, W[[2, 0]])
    assert type(mapped) is Tensor and np.array_equal(mapped.data, np.ones((4, 2)) @ W.T)


@pytest.mark.parametrize("form", ["none", "tanh"])
def test_gelu_of_numbers_whose_square_overflows(form):
    x = Tensor(np.array([-1e30, -1e19, 1e19, 1e30], np.float32), requires_grad=True)
    out = F.gelu(x, form)
    out.backward(np.ones(4, np.float32))
    assert np.array_equal(out.data, np.maximum(x.data, 0)) and np.array_equal(x.grad, [0, 0, 1, 1])


def test_a_set_hides_modules_as_a_list_does():
    net = nn.Module()
    net.parts = {nn.Linear(2, 2)}
    with pytest.raises(TypeError, match="the attribute 'parts' is a set with a Linear, which would never be trained"):
        list(net.parameters())
    net.parts = {1, 2}
    assert list(net.parameters()) == []


def test_initialisers_refuse_integers_and_what_is_no_number():
    whole = Tensor(np.arange(6).reshape(2, 3))
    for fill in (nn.init.normal_, nn.init.uniform_, nn.init.xavier_normal_, nn.init.kaiming_uniform_):
        with pytest.raises(TypeError, match=r"init: expected a Parameter of floats, got int\d+"):
            fill(whole)
    assert np.array_equal(whole.data, np.arange(6).reshape(2, 3))
    p = nn.Parameter(np.ones(3))
    for value in (None, "1", [1.0, 2.0, 3.0]):
        with pytest.raises(TypeError, match="constant_: expected a number, got"):
            nn.init.constant_(p, value)
    assert np.all(p.data == 1) and np.all(nn.init.constant_(p, np.float32(2)).data == 2)

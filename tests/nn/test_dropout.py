"""Dropout: equal to PyTorch with PyTorch's masks, one mask for both directions, moments, modes, and what it refuses."""

import copy
import pickle
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import odyssey.nn.functional as F
from odyssey import Tensor, gradcheck, nn, no_grad
from odyssey.autograd import primitive
from odyssey.data import DataLoader, load_digits
from odyssey.nn.dropout import check_probability, dropout_mask
from odyssey.optim import Adam
from tests.nn.reference import read_reference

RATES = (0.0, 0.1, 0.5, 0.8, 1.0)


REFERENCE = read_reference("dropout", typed=True)
CASES = [case for case in REFERENCE if " " in case]


class Drawn(np.random.Generator):
    """Draws 0 where a mask is zero and nearly 1 elsewhere, mask after mask; counts the draws."""

    def __init__(self, *masks):
        super().__init__(np.random.PCG64(0))
        self.masks, self.draws = list(masks), 0

    def random(self, size=None, dtype=np.float64, out=None):
        mask = self.masks[self.draws]
        self.draws += 1
        assert mask.shape == tuple(size)
        return np.where(mask != 0, 1 - 2.0**-20, 0.0).astype(dtype)


def rng(seed=0):
    return np.random.default_rng(seed)


def leaf(*shape, dtype=np.float64, seed=1):
    return Tensor(np.asarray(rng(seed).normal(size=shape)).astype(dtype), requires_grad=True)


# ---- PyTorch ----


def test_the_reference_has_all_kinds():
    assert len(CASES) == 2 * 5 * 9
    assert {tuple(case.split(" ", 3)[:3]) for case in CASES} == {
        (kind, dtype, str(p))
        for kind in ("dropout", "dropout2d", "eval") for dtype in ("float64", "float32") for p in RATES
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_pytorch(case):
    a = REFERENCE[case]
    kind, dtype, p, _ = case.split(" ", 3)
    tolerance = 1e-14 if dtype == "float64" else 1e-6
    drawn = Drawn(a["mask"][:, :, :1, :1] if kind == "dropout2d" else a["mask"])
    layer = (nn.Dropout2D if kind == "dropout2d" else nn.Dropout)(float(p), drawn).train(kind != "eval")
    x = Tensor(a["x"].copy(), requires_grad=True)
    out = layer(x)
    assert out.shape == x.shape and out.dtype == dtype
    np.testing.assert_allclose(out.data, a["out"], rtol=tolerance, atol=tolerance)
    out.backward(a["g"])
    assert x.grad.dtype == dtype
    np.testing.assert_allclose(x.grad, a["dx"], rtol=tolerance, atol=tolerance)
    if kind == "eval":
        assert layer.mask is None
    else:
        np.testing.assert_allclose(np.broadcast_to(layer.mask, x.shape), a["mask"], rtol=tolerance, atol=0)
    assert drawn.draws == (kind != "eval" and p not in ("0.0", "1.0"))


def test_two_forwards_before_a_backward_as_in_pytorch():
    a = REFERENCE["twice"]
    drawn = Drawn(a["mask0"], a["mask1"])
    net = nn.Sequential(nn.Linear(4, 9), nn.ReLU(), nn.Dropout(0.4, drawn), nn.Linear(9, 3)).to(np.float64)
    for i, p in enumerate(net.parameters()):
        p.data = a[f"weight{i}"].copy()
    first, second = (Tensor(a[x].copy(), requires_grad=True) for x in ("x0", "x1"))
    out = net(first) + net(second)
    np.testing.assert_allclose(out.data, a["out"], rtol=1e-12)
    np.testing.assert_array_equal(net[2].mask, a["mask1"])
    out.backward(a["g"])
    for x, name in ((first, "dx0"), (second, "dx1")):
        np.testing.assert_allclose(x.grad, a[name], rtol=1e-12, atol=1e-14)
    for i, p in enumerate(net.parameters()):
        np.testing.assert_allclose(p.grad, a[f"dweight{i}"], rtol=1e-12, atol=1e-14)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_infinity_left_out_is_what_it_is_in_pytorch():
    a = REFERENCE["infinite"]
    np.testing.assert_array_equal(F.dropout(Tensor(a["x"]), 1.0).data, a["out"])
    assert np.isnan(a["out"][:2]).all() and (a["out"][2:] == 0).all()


# ---- the mask ----


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("p", RATES)
def test_the_mask_has_two_values_and_the_dtype_of_the_input(dtype, p):
    drop = nn.Dropout(p, rng())
    x = leaf(40, 50, dtype=dtype)
    out = drop(x)
    assert drop.mask.dtype == out.dtype == dtype and drop.mask.shape == x.shape
    allowed = {0: [1], 0.1: [0, 1 / 0.9], 0.5: [0, 2], 0.8: [0, 1 / (1 - 0.8)], 1: [0]}[p]
    assert np.unique(drop.mask).tolist() == np.asarray(allowed, dtype).tolist()
    np.testing.assert_array_equal(out.data, x.data * drop.mask)
    out.backward(np.ones(x.shape, dtype))
    assert x.grad.dtype == dtype
    np.testing.assert_array_equal(x.grad, drop.mask)


@pytest.mark.parametrize("p", [0.01, 0.1, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout2D])
def test_mean_variance_and_share(kind, p):
    n = 400_000
    drop = kind(p, rng(3))
    drop(Tensor(np.ones((n // 100, 100, 1, 1))))
    m = drop.mask
    assert abs(np.mean(m == 0) - p) < 4.5 * sqrt(p * (1 - p) / n)
    assert abs(m.mean() - 1) < 4.5 * sqrt(p / (1 - p) / n)
    # the variance of the sample variance of a two-valued variable
    fourth = p + (1 - p) * (p / (1 - p)) ** 4 - (p / (1 - p)) ** 2
    assert abs(m.var() - p / (1 - p)) < 5 * sqrt(max(fourth, 1e-9) / n) + 1e-6


def test_entries_are_independent():
    drop = nn.Dropout(0.3, rng(5))
    drop(Tensor(np.ones((300, 300))))
    m = (drop.mask - 1) / sqrt(0.3 / 0.7)
    for other in (np.roll(m, 1, axis=0), np.roll(m, 1, axis=1), m.T):
        off = ~np.eye(300, dtype=bool)
        assert abs(np.mean((m * other)[off])) < 4.5 * sqrt(2) / 300


def test_the_spread_of_a_unit_is_that_of_the_formula():
    w, x, p = np.array([3.0, 1.0, -2.0]), np.array([2.0, 4.0, 1.0]), 0.4
    out = F.dropout(Tensor(np.tile(x, (200_000, 1))), p, rng=rng()).data @ w
    variance = p / (1 - p) * np.sum(w**2 * x**2)
    assert abs(out.mean() - w @ x) < 4.5 * sqrt(variance / 200_000)
    assert out.var() == pytest.approx(variance, rel=0.02)


def test_a_generator_gives_its_masks_again_and_each_pass_a_new_one():
    x = leaf(20, 30)
    drop, twin, other = nn.Dropout(0.5, rng(7)), nn.Dropout(0.5, rng(7)), nn.Dropout(0.5, rng(8))
    masks = []
    for layer in (drop, drop, twin, twin, other):
        layer(x)
        masks.append(layer.mask)
    np.testing.assert_array_equal(masks[0], masks[2])
    np.testing.assert_array_equal(masks[1], masks[3])
    assert not np.array_equal(masks[0], masks[1]) and not np.array_equal(masks[0], masks[4])
    np.testing.assert_array_equal(F.dropout(x, 0.5, rng=rng(7)).data, x.data * masks[0])


def test_without_a_generator_each_layer_draws_its_own():
    x = Tensor(np.ones(200))
    one, two = nn.Dropout(0.5), nn.Dropout(0.5)
    assert not np.array_equal(one(x).data, two(x).data)
    assert not np.array_equal(F.dropout(x).data, F.dropout(x).data)


def test_the_global_seed_of_numpy_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    nn.Dropout(0.5)(Tensor(np.ones(100)))
    F.dropout(Tensor(np.ones(100)))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("p", [0, 1, 0.0, 1.0])
def test_at_the_edges_nothing_is_drawn(p):
    generator = rng()
    state = generator.bit_generator.state
    x = leaf(3, 4)
    np.testing.assert_array_equal(F.dropout(x, p, rng=generator).data, (1 - p) * x.data)
    np.testing.assert_array_equal(nn.Dropout(p, generator)(x).data, (1 - p) * x.data)
    assert generator.bit_generator.state == state


def test_dropout_mask_repeats_attentions_call():
    mask = dropout_mask((2, 3), 0.25, np.float32, rng())
    assert mask.dtype == np.float32 and mask.shape == (2, 3)
    np.testing.assert_array_equal(mask, (rng().random((2, 3), np.float32) >= 0.25) / np.float32(0.75))


# ---- gradients ----


@pytest.mark.parametrize("p", [0, 0.1, 0.5, 0.9, 1])
@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (2, 1, 3), (2, 2, 2, 2)])
def test_gradients_against_differences(p, shape):
    x = rng().normal(size=shape)
    assert gradcheck(lambda x: F.dropout(x, p, rng=rng(3)), x)
    assert gradcheck(lambda x: nn.Dropout(p, rng(3))(x), x)
    assert gradcheck(lambda x: nn.Dropout(p).eval()(x), x)


@pytest.mark.parametrize("p", [0, 0.4, 1])
def test_gradients_of_channels_against_differences(p):
    assert gradcheck(lambda x: nn.Dropout2D(p, rng(3))(x), rng().normal(size=(2, 3, 2, 4)))


def test_gradients_through_two_passes_against_differences():
    def twice(x, W):
        drop = nn.Dropout(0.5, rng(1))
        return drop(np.tanh(drop(x) @ W)) * drop(x)

    assert gradcheck(twice, rng().normal(size=(3, 4)), rng(2).normal(size=(4, 4)))


def test_the_checker_finds_a_fresh_mask():
    @primitive()
    def fresh(x, *, generator):
        return x * dropout_mask(x.shape, 0.5, x.dtype, generator), lambda g: (
            g * dropout_mask(g.shape, 0.5, g.dtype, generator),
        )

    with pytest.raises(AssertionError, match="central differences"):
        gradcheck(lambda x: fresh(x, generator=rng()), rng().normal(size=(4, 5)))


def test_a_pass_in_between_does_not_disturb_the_backward():
    drop, x = nn.Dropout(0.5, rng()), leaf(200)
    out = drop(x)
    mask = drop.mask.copy()
    drop(Tensor(np.ones(200)))  # another mask
    drop(Tensor(np.ones(7)))  # another shape
    drop.eval()(Tensor(np.ones(200)))  # no mask at all
    drop.p = 0.9
    out.backward(np.ones(200))
    np.testing.assert_array_equal(x.grad, mask)


def test_a_second_backward_uses_the_same_mask():
    drop, x = nn.Dropout(0.5, rng()), leaf(50)
    out = drop(x).sum()
    out.backward(retain_tape=True)
    out.backward()
    np.testing.assert_array_equal(x.grad, 2 * drop.mask)


def test_the_same_input_twice_adds_both_masks():
    drop, x = nn.Dropout(0.5, rng()), leaf(50)
    one = drop(x)
    first = drop.mask
    two = drop(x)
    (one + two).sum().backward()
    np.testing.assert_array_equal(x.grad, first + drop.mask)


def test_nothing_is_recorded_for_inputs_without_gradient():
    drop = nn.Dropout(0.5, rng())
    assert not drop(Tensor(np.ones(5))).requires_grad
    with no_grad():
        assert not drop(leaf(5)).requires_grad
    assert drop(leaf(5)).requires_grad


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    st.floats(0, 1), st.integers(0, 99), st.sampled_from([np.float32, np.float64]),
)  # fmt: skip
def test_result_and_gradient_are_products_with_one_mask(shape, p, seed, dtype):
    x, drop = leaf(*shape, dtype=dtype), nn.Dropout(p, rng(seed))
    g = np.asarray(rng(seed + 1).normal(size=shape)).astype(dtype)
    out = drop(x)
    out.backward(g)
    assert drop.mask.shape == out.shape == shape and out.dtype == x.grad.dtype == drop.mask.dtype == dtype
    assert np.isfinite(drop.mask).all() and (drop.mask >= 0).all()
    np.testing.assert_array_equal(out.data, x.data * drop.mask)
    np.testing.assert_array_equal(x.grad, g * drop.mask)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.tuples(*[st.integers(0, 3)] * 4), st.floats(0, 1), st.integers(0, 99))
def test_whole_channels_share_a_draw(shape, p, seed):
    x, drop = Tensor(np.ones(shape), requires_grad=True), nn.Dropout2D(p, rng(seed))
    out = drop(x)
    assert drop.mask.shape == (*shape[:2], 1, 1) and out.shape == shape
    np.testing.assert_array_equal(out.data, np.broadcast_to(drop.mask, shape))
    out.backward(np.full(shape, 2.0))
    np.testing.assert_array_equal(x.grad, 2 * np.broadcast_to(drop.mask, shape))


# ---- modes ----


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout2D])
@pytest.mark.parametrize("p", RATES)
def test_in_eval_the_input_passes_untouched(kind, p):
    generator = rng()
    drop, x = kind(p, generator).eval(), leaf(2, 3, 2, 2)
    state = generator.bit_generator.state
    assert drop(x) is x and drop.mask is None
    assert F.dropout(x, p, training=False) is x
    assert generator.bit_generator.state == state


def test_the_mask_is_that_of_the_last_training_pass_and_none_in_eval():
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5, rng())).to(np.float64)
    drop, x = net[1], Tensor(np.ones((3, 4)))
    assert drop.mask is None
    net(x)
    first = drop.mask
    assert first.shape == (3, 4)
    net.eval()
    assert drop.mask is None  # a mask of training says nothing about a pass in eval
    net(x)
    assert drop.mask is None
    net.train()
    assert drop.mask is None  # the last pass had none
    net(x)
    assert drop.mask.shape == (3, 4) and not np.array_equal(drop.mask, first)


def test_the_function_drops_unless_it_is_told_otherwise():
    x = Tensor(np.ones(1000))
    assert 300 < np.sum(F.dropout(x, rng=rng()).data == 0) < 700
    assert np.all(F.dropout(x, training=np.False_).data == 1)


def test_arrays_are_accepted_too():
    x = np.ones((4, 5), np.float32)
    drop = nn.Dropout(0.5, rng())
    out = drop(x)
    assert isinstance(out, np.ndarray) and out.dtype == np.float32
    np.testing.assert_array_equal(out, drop.mask)
    assert np.all(x == 1)


def test_dropout_has_no_state_and_no_parameters():
    net = nn.Sequential(nn.Dropout(0.5), nn.Dropout2D(0.5))
    net[0](Tensor(np.ones(3)))
    assert list(net.parameters()) == [] and net.state_dict() == {}
    assert repr(nn.Dropout(0.25)).startswith("Dropout(p=0.25")
    assert repr(nn.Dropout2D(1)).startswith("Dropout2D(p=1.0")


def test_copies_draw_for_themselves():
    drop = nn.Dropout(0.5, rng())
    drop(Tensor(np.ones(30)))
    for twin in (copy.deepcopy(drop), pickle.loads(pickle.dumps(drop))):
        np.testing.assert_array_equal(twin.mask, drop.mask)
        state = drop.rng.bit_generator.state
        twin(Tensor(np.ones(30)))
        assert drop.rng.bit_generator.state == state
        again = copy.deepcopy(drop)
        again(Tensor(np.ones(30)))
        np.testing.assert_array_equal(twin.mask, again.mask)


# ---- refused ----


@pytest.mark.parametrize("p", [-0.1, 1.1, -1, 2, np.nan, np.inf, -np.inf, np.float32(1.5), 50])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (nn.Dropout, "Dropout"),
        (nn.Dropout2D, "Dropout2D"),
        (lambda p: F.dropout(Tensor(np.ones(3)), p), "dropout"),
    ],
)
def test_rates_out_of_range_are_refused(p, make, name):
    with pytest.raises(ValueError, match=rf"^{name}: expected p in \[0, 1\], the share to leave out, got"):
        make(p)


@pytest.mark.parametrize("p", ["0.5", True, False, None, [0.5], np.array([0.5]), 1j, Tensor(0.5)])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (nn.Dropout, "Dropout"),
        (nn.Dropout2D, "Dropout2D"),
        (lambda p: F.dropout(Tensor(np.ones(3)), p), "dropout"),
    ],
)
def test_rates_that_are_no_numbers_are_refused(p, make, name):
    with pytest.raises(TypeError, match=rf"^{name}: expected p to be a number, got .*; pass one like 0\.5"):
        make(p)


@pytest.mark.parametrize("p", [0, 1, 0.5, np.float32(0.5), np.float64(0.5), np.int64(1)])
def test_rates_become_python_floats(p):
    assert type(check_probability("f", p)) is float and check_probability("f", p) == p
    assert type(nn.Dropout(p).p) is float


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (Tensor(np.arange(6)), r"expected floats, got int\d+.*convert the input"),
        (np.ones((2, 3), bool), r"expected floats, got bool.*convert the input"),
        (np.ones(3, complex), r"expected floats, got complex128"),
        ([1.0, 2.0], r"expected a Tensor or an array, got list; wrap it: Tensor\(x\)"),
        (1.5, r"expected a Tensor or an array, got float"),
        (None, r"expected a Tensor or an array, got NoneType"),
    ],
)
def test_inputs_that_are_no_floats_are_refused_in_both_modes(x, message, training):
    generator = rng()
    drop = nn.Dropout(0.5, generator)
    drop(Tensor(np.ones(4)))
    kept, state = drop.mask, generator.bit_generator.state
    drop.train(training)
    with pytest.raises(TypeError, match=f"^Dropout: {message}"):
        drop(x)
    with pytest.raises(TypeError, match=f"^dropout: {message}"):
        F.dropout(x, 0.5, training, generator)
    assert drop.train().mask is kept and generator.bit_generator.state == state


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (1, 2, 3, 4, 5)])
def test_channels_need_images_in_both_modes(shape, training):
    generator = rng()
    drop = nn.Dropout2D(0.5, generator).train(training)
    state = generator.bit_generator.state
    with pytest.raises(ValueError, match=r"^Dropout2D: expected input of shape \(N, C, H, W\), got .*use Dropout"):
        drop(Tensor(np.ones(shape)))
    assert generator.bit_generator.state == state


@pytest.mark.parametrize("bad", [0, 42, "seed", np.random.RandomState(0), np.random])
def test_what_is_no_generator_is_refused(bad):
    for kind in (nn.Dropout, nn.Dropout2D):
        with pytest.raises(TypeError, match=f"^{kind.__name__}: expected rng to be a numpy Generator"):
            kind(0.5, bad)
    with pytest.raises(TypeError, match=r"^dropout: expected rng to be a numpy Generator"):
        F.dropout(Tensor(np.ones(3)), 0.5, rng=bad)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("p", "error"), [(2, ValueError), (-1, ValueError), (np.nan, ValueError), ("0.5", TypeError)])
def test_a_rate_that_was_assigned_is_checked_by_the_next_pass(p, error, training):
    generator = rng()
    drop, x = nn.Dropout(0.5, generator), Tensor(np.ones(6))
    drop(x)
    kept, state = drop.mask, generator.bit_generator.state
    drop.train(training).p = p
    with pytest.raises(error, match=r"^Dropout: expected p"):
        drop(x)
    assert drop.train().mask is kept and generator.bit_generator.state == state
    drop.p = 1
    assert (drop(x).data == 0).all()


@pytest.mark.parametrize("training", [None, 1, "eval", np.random.default_rng(0)])
def test_training_must_be_a_flag(training):
    with pytest.raises(TypeError, match=r"^dropout: expected training to be True or False, got .*pass a generator as"):
        F.dropout(Tensor(np.ones(3)), 0.5, training)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_nan_and_infinity_pass_where_they_are_kept():
    x = Tensor(np.array([np.nan, np.inf, 1.0, np.nan, np.inf]), requires_grad=True)
    out = nn.Dropout(0.5, Drawn(np.array([2, 2, 2, 0, 0])))(x)
    np.testing.assert_array_equal(out.data, [np.nan, np.inf, 2, np.nan, np.nan])
    out.backward(np.ones(5))
    np.testing.assert_array_equal(x.grad, [2, 2, 2, 0, 0])


# ---- what it is for ----


def digits(part):
    X, y = load_digits()[part]
    return X.reshape(-1, 64), y


def trained(p, X, y, epochs, seed=0, width=128):
    generator = rng(seed)
    net = nn.Sequential(
        nn.Linear(64, width, rng=generator), nn.ReLU(), nn.Dropout(p, generator),
        nn.Linear(width, width, rng=generator), nn.ReLU(), nn.Dropout(p, generator),
        nn.Linear(width, 10, rng=generator),
    )  # fmt: skip
    optimizer = Adam(net.parameters(), lr=5e-3)
    for _ in range(epochs):
        for batch, target in DataLoader(X, y, batch_size=100, rng=generator):
            F.cross_entropy(net(Tensor(batch)), target).backward()
            optimizer.step()
            optimizer.zero_grad()
    return net.eval()


def accuracy(net, X, y):
    with no_grad():
        return np.mean(net(Tensor(X)).data.argmax(axis=1) == y)


def test_a_network_with_dropout_learns_the_digits():
    assert accuracy(trained(0.5, *digits("train"), 15), *digits("test")) > 0.95


def test_dropout_hinders_learning_wrong_labels_by_heart():
    X, y = (part[:400] for part in digits("train"))
    labels = y.copy()
    labels[:100] = (labels[:100] + rng().integers(1, 10, 100)) % 10
    plain, dropped = (trained(p, X, labels, 80) for p in (0.0, 0.5))
    assert accuracy(plain, X, labels) > 0.95 > 0.9 > accuracy(dropped, X, labels)
    assert accuracy(dropped, *digits("test")) > accuracy(plain, *digits("test")) + 0.04


def test_linear_regression_with_dropout_ends_at_the_weights_of_the_formula():
    generator, p = rng(0), 0.4
    X = generator.normal(size=(200, 3)) * [0.5, 1.0, 2.0]
    y = X @ [1.0, -2.0, 0.5] + generator.normal(0, 0.1, 200)
    gram = X.T @ X
    expected = np.linalg.solve(gram + p / (1 - p) * np.diag(np.diag(gram)), X.T @ y)
    w, drop, total = nn.Parameter(np.zeros(3)), nn.Dropout(p, generator), np.zeros(3)
    for step in range(6000):
        loss = F.mse_loss(drop(Tensor(X)) @ w, Tensor(y))
        loss.backward()
        w.data = w.data - 0.02 * w.grad
        w.grad = None
        total += w.data * (step >= 1000)
    np.testing.assert_allclose(total / 5000, expected, atol=0.01)
    assert np.abs(expected - [1.0, -2.0, 0.5]).max() > 0.3

"""odyssey.nn.normalization: equal to PyTorch, right gradients, invariances, running statistics, errors, and a stack."""

from ast import literal_eval
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import odyssey.nn.functional as F
from odyssey import Tensor, gradcheck, nn, no_grad
from odyssey.amp import autocast
from odyssey.data import DataLoader, load_digits
from odyssey.nn.normalization import Standard, standardize, standardize_vjp
from odyssey.optim import SGD
from tests.nn.reference import read_reference

REFERENCE = read_reference("normalization")


def cases(kind):
    return [case for case in REFERENCE if case.startswith(f"{kind}/")]


def leaf(x, dtype=np.float64):
    return Tensor(np.array(x, dtype), requires_grad=True)


def random(*shape, seed=0, shift=2.0):
    return np.random.default_rng(seed).normal(shift, 1.5, shape)


def hat(x, axes, eps=0.0):
    """The formula, over `axes`."""
    return (x - x.mean(axis=axes, keepdims=True)) / np.sqrt(x.var(axis=axes, keepdims=True) + eps)


def compare(a, call, dtype, tolerance):
    """Result and gradients of `call` against the arrays `a` of PyTorch."""
    leaves = {name: leaf(a[name], dtype) for name in ("x", "weight", "bias") if name in a}
    out = call(**leaves)
    assert out.dtype == dtype and out.shape == a["out"].shape
    out.backward(a["g"].astype(dtype))
    for got, expected in [(out.data, a["out"]), *((p.grad, a["d" + name]) for name, p in leaves.items())]:
        assert got.dtype == dtype
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


PRECISIONS = pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-3)])


# ---- PyTorch ----


@PRECISIONS
@pytest.mark.parametrize("case", cases("layer") + cases("rms"))
def test_over_features_as_pytorch(case, dtype, tolerance):
    kind, options = case.split("/")
    shape, rest = options.split("), ")
    last, eps = rest.split(", ")
    sizes = literal_eval(shape + ")")[-int(last) :]
    function = F.layer_norm if kind == "layer" else F.rms_norm
    compare(REFERENCE[case], lambda x, **p: function(x, sizes, eps=float(eps), **p), dtype, tolerance)


@PRECISIONS
@pytest.mark.parametrize("case", cases("group"))
def test_over_groups_as_pytorch(case, dtype, tolerance):
    groups, eps = case.split("), ")[1].split(", ")
    compare(REFERENCE[case], lambda x, **p: F.group_norm(x, int(groups), eps=float(eps), **p), dtype, tolerance)


@PRECISIONS
@pytest.mark.parametrize("case", cases("instance"))
def test_over_pixels_as_pytorch(case, dtype, tolerance):
    compare(REFERENCE[case], nn.InstanceNorm(6), dtype, tolerance)


@PRECISIONS
@pytest.mark.parametrize("case", cases("batch"))
def test_over_the_batch_as_pytorch(case, dtype, tolerance):
    a = REFERENCE[case]
    training, momentum, eps = case.split("), ")[1].split(", ")
    mean, var = a["mean"].astype(dtype), a["var"].astype(dtype)

    def call(x, weight, bias):
        return F.batch_norm(x, mean, var, weight, bias, training == "True", float(momentum), float(eps))

    compare(a, call, dtype, tolerance)
    assert mean.dtype == var.dtype == dtype
    np.testing.assert_allclose(mean, a["new_mean"], rtol=tolerance / 100)
    np.testing.assert_allclose(var, a["new_var"], rtol=tolerance / 100)


@pytest.mark.parametrize("case", cases("running"))
def test_running_statistics_of_the_module_as_pytorch(case):
    a = REFERENCE[case]
    layer = nn.BatchNorm(3, **literal_eval(case.split(", ", 1)[1])).to(np.float64)
    for x, mean, var in zip(a["x"], a["mean"], a["var"], strict=True):
        layer(Tensor(x))
        np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-12)
        np.testing.assert_allclose(layer.running_var, var, rtol=1e-12)
    assert layer.num_batches_tracked == a["tracked"] == 5
    np.testing.assert_allclose(layer.eval()(Tensor(a["x"][0])).data, a["eval"], rtol=1e-9, atol=1e-11)
    assert layer.num_batches_tracked == 5


def test_the_reference_has_all_kinds():
    kinds = {case.split("/")[0] for case in REFERENCE}
    assert kinds == {"layer", "rms", "group", "instance", "batch", "running", "far"}
    assert min(len(cases(kind)) for kind in kinds - {"instance", "far"}) >= 8


def test_state_dictionaries_have_the_names_and_shapes_of_pytorch():
    shapes = {name: value.shape for name, value in nn.BatchNorm(3).state_dict().items()}
    assert shapes == {
        "weight": (3,), "bias": (3,), "running_mean": (3,), "running_var": (3,), "num_batches_tracked": (),
    }  # fmt: skip
    assert list(nn.BatchNorm(3, affine=False, track_running_stats=False).state_dict()) == []
    assert {n: p.shape for n, p in nn.LayerNorm((2, 3)).named_parameters()} == {"weight": (2, 3), "bias": (2, 3)}
    assert list(nn.RMSNorm(4).state_dict()) == ["weight"]
    assert list(nn.GroupNorm(2, 4).state_dict()) == ["weight", "bias"]
    assert list(nn.GroupNorm(2, 4, affine=False).state_dict()) == list(nn.InstanceNorm(4).state_dict()) == []
    assert list(nn.InstanceNorm(4, affine=True).state_dict()) == ["weight", "bias"]


def test_a_state_dictionary_restores_the_buffers():
    trained, fresh = nn.BatchNorm(3), nn.BatchNorm(3)
    trained(Tensor(random(8, 3).astype(np.float32)))
    fresh.load_state_dict(trained.state_dict())
    x = Tensor(random(4, 3, seed=1).astype(np.float32))
    np.testing.assert_array_equal(fresh.eval()(x).data, trained.eval()(x).data)
    assert fresh.num_batches_tracked == 1
    fresh.train()(x)
    assert trained.running_mean.tolist() != fresh.running_mean.tolist()  # copies, not the same arrays


# ---- gradients ----


RNG = np.random.default_rng(0)
IMAGES, W, B = RNG.normal(2, 1.5, (3, 4, 2, 5)), RNG.normal(size=4), RNG.normal(size=4)
W2, B2 = RNG.normal(size=(2, 5)), RNG.normal(size=(2, 5))
GRADCHECKS = {
    "layer": (lambda x, w, b: F.layer_norm(x, (2, 5), w, b), IMAGES, W2, B2),
    "layer, weight": (lambda x, w: F.layer_norm(x, (2, 5), w), IMAGES, W2),
    "layer, bias": (lambda x, b: F.layer_norm(x, (2, 5), bias=b), IMAGES, B2),
    "layer of one row": (lambda x, w, b: F.layer_norm(x, 4, w, b), IMAGES[0, :, 0, 0], W, B),
    "layer, large eps": (lambda x: F.layer_norm(x, (2, 5), eps=1.0), IMAGES),
    "rms": (lambda x, w: F.rms_norm(x, (2, 5), w), IMAGES, W2),
    "rms, large eps": (lambda x: F.rms_norm(x, 5, eps=1.0), IMAGES),
    **{f"group {g}": (lambda x, w, b, g=g: F.group_norm(x, g, w, b), IMAGES, W, B) for g in (1, 2, 4)},
    "group of vectors": (lambda x, w, b: F.group_norm(x, 2, w, b), IMAGES[:, :, 0, 0], W, B),
    "batch": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), IMAGES, W, B),
    "batch of vectors": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), IMAGES[:, :, 0, 0], W, B),
    "batch of one image": (lambda x: F.batch_norm(x, training=True), IMAGES[:1]),
    "batch, eval": (lambda x, w, b: F.batch_norm(x, B, W**2, w, b), IMAGES, W, B),
    "batch, eval, plain": (lambda x: F.batch_norm(x, B, W**2), IMAGES),
}


@pytest.mark.parametrize("name", GRADCHECKS)
def test_gradients_against_differences(name):
    assert gradcheck(*GRADCHECKS[name])


@pytest.mark.parametrize(
    ("function", "axes"),
    [
        (lambda x: F.layer_norm(x, 6, eps=1e-12), 1),
        (lambda x: F.batch_norm(x, training=True, eps=1e-12), 0),
        (lambda x: F.group_norm(x, 1, eps=1e-12), 1),
    ],
)
def test_the_gradient_has_no_share_along_the_ones_and_the_result(function, axes):
    x, g = leaf(random(5, 6)), random(5, 6, seed=1)
    out = function(x)
    out.backward(g)
    for direction in (np.ones((5, 6)), out.data):
        np.testing.assert_allclose((x.grad * direction).sum(axis=axes), 0, atol=1e-7)
    assert np.abs(x.grad).min() > 0


def test_degenerate_losses_have_no_gradient():
    for power in (1, 2):
        x = leaf(random(5, 6))
        (F.layer_norm(x, 6, eps=1e-12) ** power).sum().backward()
        np.testing.assert_allclose(x.grad, 0, atol=1e-10)


def test_a_projection_twice_is_a_projection():
    done = standardize(random(4, 7), 1e-14)
    g, ones = random(4, 7, seed=1), np.ones(4)
    once = standardize_vjp(g, done.out, ones)
    np.testing.assert_allclose(standardize_vjp(once, done.out, ones), once, atol=1e-11)
    assert np.abs(once - g).max() > 0.1


def test_a_second_forward_before_the_backward_does_no_harm():
    layer, g = nn.BatchNorm(4).to(np.float64), random(6, 4, seed=2)
    x, other = leaf(random(6, 4)), leaf(random(6, 4, seed=1))
    first = layer(x)
    layer(other)
    first.backward(g)
    again = leaf(random(6, 4))
    nn.BatchNorm(4).to(np.float64)(again).backward(g)
    np.testing.assert_array_equal(x.grad, again.grad)


# ---- the formula ----


def test_by_hand():
    x = leaf([1.0, 3.0, 3.0, 9.0])
    out = F.layer_norm(x, 4, eps=1e-14)
    out.backward(np.array([1.0, 0, 0, 0]))
    np.testing.assert_allclose(out.data, [-1, -1 / 3, -1 / 3, 5 / 3], rtol=1e-12)
    np.testing.assert_allclose(x.grad, [1 / 6, -1 / 9, -1 / 9, 1 / 18], rtol=1e-12)
    np.testing.assert_allclose(F.rms_norm(x, 4, eps=1e-14).data, [0.2, 0.6, 0.6, 1.8], rtol=1e-12)


def test_eps_stands_inside_the_root():
    assert F.layer_norm(np.array([-1.0, 1.0]), 2, eps=3.0).data.tolist() == [-0.5, 0.5]
    assert F.rms_norm(np.array([1.0, 1.0]), 2, eps=3.0).data.tolist() == [0.5, 0.5]
    assert F.group_norm(np.array([[-1.0, 1.0]]), 1, eps=3.0).data.tolist() == [[-0.5, 0.5]]
    x = np.array([[-1.0], [1.0]])
    assert F.batch_norm(x, training=True, eps=3.0).data.tolist() == [[-0.5], [0.5]]
    assert F.batch_norm(x, np.zeros(1), np.ones(1), eps=3.0).data.tolist() == [[-0.5], [0.5]]


def everything(function):
    return settings(deadline=None, derandomize=True, max_examples=40)(function)


@everything
@given(shape=array_shapes(min_dims=2, max_dims=5, max_side=4), seed=st.integers(0, 1000), data=st.data())
def test_each_norm_is_the_formula_over_its_axes(shape, seed, data):
    x = random(*shape, seed=seed)
    C, eps = shape[1], 0.01
    groups = data.draw(st.sampled_from([g for g in range(1, C + 1) if C % g == 0]))
    last = data.draw(st.integers(1, len(shape)))
    axes = tuple(range(len(shape) - last, len(shape)))
    got = F.layer_norm(x, shape[len(shape) - last :], eps=eps).data
    np.testing.assert_allclose(got, hat(x, axes, eps), atol=1e-10)
    got = F.rms_norm(x, shape[len(shape) - last :], eps=eps).data
    np.testing.assert_allclose(got, x / np.sqrt(np.mean(x**2, axis=axes, keepdims=True) + eps), atol=1e-10)
    parts = x.reshape(shape[0], groups, -1)
    np.testing.assert_allclose(F.group_norm(x, groups, eps=eps).data, hat(parts, 2, eps).reshape(shape), atol=1e-10)
    if x.size // C > 1:
        axes = (0, *range(2, len(shape)))
        np.testing.assert_allclose(F.batch_norm(x, training=True, eps=eps).data, hat(x, axes, eps), atol=1e-10)


@everything
@given(shape=array_shapes(min_dims=2, max_dims=4, min_side=2, max_side=5), a=st.floats(0.1, 10), b=st.floats(-5, 5))
def test_shift_and_stretch_are_forgotten(shape, a, b):
    x = random(*shape)
    for function in (
        lambda x: F.layer_norm(x, shape[1:], eps=1e-12),
        lambda x: F.group_norm(x, 1, eps=1e-12),
        lambda x: F.batch_norm(x, training=True, eps=1e-12),
    ):
        np.testing.assert_allclose(function(a * x + b).data, function(x).data, atol=1e-6)
    rms = F.rms_norm(x, shape[1:], eps=1e-12).data
    np.testing.assert_allclose(F.rms_norm(a * x, shape[1:], eps=1e-12).data, rms, atol=1e-6)


def test_group_norm_with_c_groups_is_instance_norm_and_with_one_layer_norm():
    x = random(2, 6, 3, 3)
    np.testing.assert_array_equal(F.group_norm(x, 6).data, nn.InstanceNorm(6)(x).data)
    np.testing.assert_allclose(F.group_norm(x, 1).data, F.layer_norm(x, (6, 3, 3)).data, rtol=1e-12, atol=1e-14)


def test_samples_do_not_meet_except_in_batch_norm():
    x = random(4, 6, 3, 3)
    other = x.copy()
    other[1:] += random(3, 6, 3, 3, seed=1)
    layers = [nn.LayerNorm((6, 3, 3)), nn.RMSNorm(3), nn.GroupNorm(2, 6), nn.InstanceNorm(6), nn.BatchNorm(6).eval()]
    for layer in layers:
        np.testing.assert_array_equal(layer(x).data[0], layer(other).data[0])
    assert np.abs(nn.BatchNorm(6)(x).data[0] - nn.BatchNorm(6)(other).data[0]).max() > 1e-3


def test_batch_norm_of_two_vectors_keeps_a_sign():
    out = F.batch_norm(random(2, 50), training=True, eps=1e-14).data
    np.testing.assert_allclose(np.abs(out), 1, rtol=1e-6)
    np.testing.assert_allclose(out.sum(axis=0), 0, atol=1e-12)


def test_arrays_that_are_not_contiguous():
    x = random(5, 4, 6)
    for view in (x.swapaxes(1, 2), x[:, ::-1], x[::2]):
        copy, c = np.ascontiguousarray(view), view.shape[1]
        for layer in (nn.LayerNorm(view.shape[1:]), nn.RMSNorm(view.shape[2]), nn.GroupNorm(2, c), nn.BatchNorm(c)):
            np.testing.assert_allclose(layer(view).data, layer(copy).data, rtol=1e-12, atol=1e-14)


# ---- precision ----


@pytest.mark.parametrize("shift", [0.0, 10.0, 1e3, 1e5])
@pytest.mark.parametrize("n", [7, 100, 1000])
def test_numbers_far_from_zero_in_float32(shift, n):
    x = np.random.default_rng(0).normal(shift, 1.0, (20, n)).astype(np.float32)
    expected = hat(x.astype(np.float64), 1, 1e-5)
    np.testing.assert_allclose(F.layer_norm(x, n).data, expected, atol=5e-5)
    np.testing.assert_allclose(F.group_norm(x, 1).data, expected, atol=5e-5)
    np.testing.assert_allclose(F.batch_norm(np.ascontiguousarray(x.T), training=True).data.T, expected, atol=5e-5)


def test_far_from_zero_pytorch_is_less_exact():
    a = REFERENCE["far"]
    x = np.random.default_rng(int(a["seed"])).normal(1e5, 1.0, (50, 1000)).astype(np.float32)
    expected = hat(x.astype(np.float64), 1)[:, ::50]
    assert np.abs(F.layer_norm(x, 1000).data[:, ::50] - expected).max() < 1e-4 < np.abs(a["out"] - expected).max()


@pytest.mark.parametrize("value", [0.1, 1000.1, 1e5, -3e6])
@pytest.mark.parametrize("n", [3, 1000, 4096])
def test_a_constant_row_gives_zeros(value, n):
    x = np.full((2, n), value, np.float32)
    for out in (F.layer_norm(x, n), F.group_norm(x, 1), F.batch_norm(x.T.copy(), training=True)):
        np.testing.assert_allclose(out.data, 0, atol=1e-3)


def test_eval_mode_far_from_zero():
    x = np.random.default_rng(0).normal(1e4, 1.0, (50, 3)).astype(np.float32)
    mean, var = x.mean(axis=0, dtype=np.float64), x.var(axis=0, dtype=np.float64)
    mean32 = mean.astype(np.float32)
    expected = (x.astype(np.float64) - mean32) / np.sqrt(var + 1e-5)
    np.testing.assert_allclose(F.batch_norm(x, mean32, var.astype(np.float32)).data, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_stay(dtype):
    x = Tensor(random(3, 4, 5).astype(dtype), requires_grad=True)
    layers = [nn.LayerNorm(5), nn.RMSNorm(5), nn.GroupNorm(2, 4), nn.InstanceNorm(4), nn.BatchNorm(4)]
    for layer in [*layers, nn.BatchNorm(4).eval()]:
        x.grad = None
        out = layer.to(dtype)(x)
        out.backward(np.ones(out.shape, dtype))
        assert out.dtype == x.grad.dtype == dtype
        assert all(p.grad.dtype == dtype for p in layer.parameters())


def test_under_autocast_norms_stay_in_float32():
    x = Tensor(random(64, 8).astype(np.float32))
    layers = [nn.LayerNorm(8), nn.RMSNorm(8), nn.GroupNorm(2, 8), nn.BatchNorm(8)]
    for layer in layers:
        expected = layer(x).data
        with autocast():
            np.testing.assert_array_equal(layer(x).data, expected)


# ---- batch norm: training, eval, running statistics ----


def test_eval_uses_the_running_statistics_and_leaves_them():
    layer = nn.BatchNorm(3).to(np.float64)
    layer.running_mean[:], layer.running_var[:] = [1, 2, 3], [4, 1, 9]
    x = random(5, 3)
    out = layer.eval()(Tensor(x)).data
    np.testing.assert_allclose(out, (x - [1, 2, 3]) / np.sqrt(np.array([4, 1, 9]) + 1e-5), rtol=1e-12)
    assert layer.running_mean.tolist() == [1, 2, 3] and layer.running_var.tolist() == [4, 1, 9]
    assert layer.num_batches_tracked == 0


def test_running_statistics_are_updated_once_in_training_and_with_the_unbiased_variance():
    layer, x = nn.BatchNorm(3, momentum=0.25).to(np.float64), random(5, 3, 2)
    with no_grad():
        layer(Tensor(x))
    np.testing.assert_allclose(layer.running_mean, 0.25 * x.mean(axis=(0, 2)), rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, 0.75 + 0.25 * x.var(axis=(0, 2), ddof=1), rtol=1e-12)


def test_momentum_none_gives_the_mean_over_all_batches():
    layer, x = nn.BatchNorm(3, momentum=None).to(np.float64), random(7, 5, 3)
    for batch in x:
        layer(Tensor(batch))
    np.testing.assert_allclose(layer.running_mean, x.mean(axis=(0, 1)), rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, x.var(axis=1, ddof=1).mean(axis=0), rtol=1e-12)


def test_momentum_zero_and_one():
    x = random(5, 3)
    still, fresh = nn.BatchNorm(3, momentum=0.0).to(np.float64), nn.BatchNorm(3, momentum=1).to(np.float64)
    still(Tensor(x))
    fresh(Tensor(x))
    assert still.running_mean.tolist() == [0, 0, 0] and still.running_var.tolist() == [1, 1, 1]
    np.testing.assert_allclose(fresh.running_mean, x.mean(axis=0), rtol=1e-12)


def test_without_running_statistics_eval_uses_the_batch():
    for momentum in (0.1, None):
        layer = nn.BatchNorm(3, momentum=momentum, track_running_stats=False)
        x = Tensor(random(5, 3).astype(np.float32))
        np.testing.assert_array_equal(layer(x).data, layer.eval()(x).data)
        assert layer.running_mean is None and layer.to(np.float64).weight.dtype == np.float64


def test_a_nan_stays_in_its_channel():
    layer, x = nn.BatchNorm(3), random(5, 3).astype(np.float32)
    x[2, 1] = nan
    out = layer(Tensor(x)).data
    assert np.isnan(out[:, 1]).all() and np.isfinite(out[:, [0, 2]]).all()
    assert np.isnan(layer.running_mean).tolist() == [False, True, False]


def test_the_input_is_not_changed():
    x = random(4, 6, 3, 3)
    before = x.copy()
    for layer in (nn.LayerNorm(3), nn.RMSNorm(3), nn.GroupNorm(2, 6), nn.InstanceNorm(6), nn.BatchNorm(6)):
        tensor = Tensor(x, requires_grad=True)
        out = layer.to(np.float64)(tensor)
        g = np.ones(out.shape)
        out.backward(g)
        np.testing.assert_array_equal(x, before)
        assert (g == 1).all()


def test_empty_batches():
    for layer in (nn.LayerNorm(4), nn.RMSNorm(4), nn.GroupNorm(2, 4), nn.BatchNorm(4).eval()):
        x = Tensor(np.zeros((0, 4), np.float32), requires_grad=True)
        out = layer(x)
        out.backward(np.zeros((0, 4), np.float32))
        assert out.shape == x.grad.shape == (0, 4)
        assert all((p.grad == 0).all() for p in layer.parameters())
    assert nn.InstanceNorm(4)(np.zeros((0, 4, 3, 3), np.float32)).shape == (0, 4, 3, 3)


# ---- stacks that learn ----


@pytest.mark.parametrize(
    "norm",
    [nn.BatchNorm, nn.LayerNorm, nn.RMSNorm, lambda c: nn.GroupNorm(4, c)],
    ids=["batch", "layer", "rms", "group"],
)
def test_ten_layers_with_weights_of_the_wrong_size_learn(norm):
    rng, layers = np.random.default_rng(0), [nn.Flatten()]
    for _ in range(10):
        linear = nn.Linear(64, 64, bias=False, rng=rng)
        linear.weight.data *= np.float32(4.0)
        layers += [linear, norm(64), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(64, 10, rng=rng))
    data = load_digits()
    optimizer = SGD(net.parameters(), lr=0.05, momentum=0.9)
    for _ in range(5):
        for x, y in DataLoader(*data["train"], batch_size=64, rng=rng):
            F.cross_entropy(net(Tensor(x)), y).backward()
            optimizer.step()
            optimizer.zero_grad()
    net.eval()
    with no_grad():
        right = np.mean(net(Tensor(data["test"][0])).data.argmax(axis=1) == data["test"][1])
    assert right > 0.6
    trained = [m for m in net.modules() if isinstance(m, type(norm(64)))]
    assert len(trained) == 10 and all(np.abs(m.weight.data - 1).max() > 1e-3 for m in trained)


def test_a_convolutional_stack_with_instance_norm_learns():
    rng = np.random.default_rng(0)
    net = nn.Sequential(
        nn.Conv2D(1, 8, 3, bias=False, rng=rng), nn.InstanceNorm(8, affine=True), nn.ReLU(), nn.AvgPool2D(2),
        nn.Flatten(), nn.Linear(72, 10, rng=rng),
    )  # fmt: skip
    data, optimizer = load_digits(), SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        for x, y in DataLoader(*data["train"], batch_size=32, rng=rng):
            F.cross_entropy(net(Tensor(x)), y).backward()
            optimizer.step()
            optimizer.zero_grad()
    x, y = data["test"]
    first, second = net.eval()(Tensor(x)).data, net(Tensor(0.5 * x + np.float32(0.3))).data
    assert np.mean(first.argmax(axis=1) == y) > 0.8
    np.testing.assert_allclose(first, second, atol=0.05)


# ---- refused ----


F32 = np.float32
BAD_INPUTS = {
    "layer_norm": (lambda x: F.layer_norm(x, 4), nn.LayerNorm(4)),
    "rms_norm": (lambda x: F.rms_norm(x, 4), nn.RMSNorm(4)),
    "group_norm": (lambda x: F.group_norm(x, 2), nn.GroupNorm(2, 4)),
    "batch_norm": (lambda x: F.batch_norm(x, training=True), nn.BatchNorm(4)),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
@pytest.mark.parametrize(
    ("x", "got"),
    [
        (np.arange(8).reshape(2, 4), r"got int\d+"),
        (np.ones((2, 4), bool), "got bool"),
        (np.ones((2, 4), np.float16), "got float16"),
        (np.ones((2, 4), complex), "got complex128"),
        (Tensor(np.arange(8).reshape(2, 4)), r"got int\d+"),
        ([[1.0, 2.0, 3.0, 4.0]] * 2, "got list"),
        (None, "got NoneType"),
    ],
)
def test_what_is_not_float32_or_float64_is_refused(name, x, got):
    function, layer = BAD_INPUTS[name]
    for call, owner in ((function, name), (layer, type(layer).__name__)):
        with pytest.raises(TypeError, match=rf"^{owner}.*: expected a Tensor or an array of float32 .*{got}; convert"):
            call(x)


SHAPES = [
    (lambda: F.layer_norm(np.ones((2, 3)), 4), r"layer_norm: expected input of shape \(..., 4\), got \(2, 3\)"),
    (lambda: F.layer_norm(np.ones(4), (2, 4)), r"layer_norm: expected input of shape \(..., 2, 4\), got \(4,\)"),
    (lambda: F.rms_norm(np.ones(()), 4), r"rms_norm: expected input of shape \(..., 4\), got \(\)"),
    (lambda: F.layer_norm(np.ones((2, 4)), 4, np.ones(3)), r"layer_norm: expected weight of shape \(4,\), got \(3,\)"),
    (lambda: F.layer_norm(np.ones((2, 4)), 4, None, np.ones(1)), r"expected bias of shape \(4,\), got \(1,\)"),
    (lambda: F.rms_norm(np.ones((2, 4)), 4, np.ones((2, 4))), r"rms_norm: expected weight of shape \(4,\)"),
    (lambda: nn.LayerNorm(4)(np.ones((2, 5), F32)), r"LayerNorm\(\(4,\), eps=1e-05\): expected input of shape"),
    (lambda: nn.RMSNorm((2, 4))(np.ones((4, 2), F32)), r"RMSNorm\(\(2, 4\), eps=1e-05\): .*got \(4, 2\)"),
    (lambda: F.group_norm(np.ones((2, 5)), 2), r"group_norm: .*C a multiple of 2 .*got \(2, 5\)"),
    (lambda: F.group_norm(np.ones((2, 4, 0)), 2), r"group_norm: .*no empty axis after N, got \(2, 4, 0\)"),
    (lambda: F.group_norm(np.ones(4), 2), r"group_norm: expected input of shape \(N, C, ...\), got \(4,\)"),
    (lambda: F.group_norm(np.ones((2, 4)), 2, np.ones(2)), r"group_norm: expected weight of shape \(4,\), got \(2,\)"),
    (lambda: nn.GroupNorm(2, 4)(np.ones((2, 6), F32)), r"GroupNorm\(2, 4.*\): .*\(N, 4, ...\), got \(2, 6\)"),
    (lambda: nn.InstanceNorm(4)(np.ones((2, 4), F32)), r"InstanceNorm\(4.*more than one pixel, got \(2, 4\)"),
    (lambda: nn.InstanceNorm(4)(np.ones((2, 4, 1, 1), F32)), r"more than one pixel, got \(2, 4, 1, 1\)"),
    (lambda: nn.InstanceNorm(4)(np.ones((2, 3, 5), F32)), r"InstanceNorm\(4.*\): .*\(N, 4, ...\), got \(2, 3, 5\)"),
    (lambda: nn.BatchNorm(4)(np.ones((2, 5), F32)), r"BatchNorm\(4.*\): .*\(N, 4, ...\), got \(2, 5\)"),
    (lambda: nn.BatchNorm(4)(np.ones(4, F32)), r"BatchNorm\(4.*\): expected input of shape .*got \(4,\)"),
    (lambda: F.batch_norm(np.ones((2, 4))), "expected running_mean and running_var, both, or in training neither"),
    (lambda: F.batch_norm(np.ones((2, 4)), np.ones(4), training=True), "running_mean and running_var, both"),
    (lambda: F.batch_norm(np.ones((2, 4)), np.ones(3), np.ones(4)), r"expected running_mean of shape \(4,\)"),
]


@pytest.mark.parametrize(("call", "words"), SHAPES)
def test_shapes_that_do_not_fit(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("shape", [(1, 4), (1, 4, 1, 1), (0, 4), (2, 4, 0)])
def test_one_value_in_a_channel_is_refused_in_training_only(shape):
    layer = nn.BatchNorm(4)
    x = np.ones(shape, F32)
    with pytest.raises(ValueError, match=r"batch_norm: training needs more than one value .* call eval\(\)"):
        layer(x)
    assert layer.running_mean.tolist() == [0] * 4 and layer.num_batches_tracked == 0
    assert layer.eval()(x).shape == shape


def test_an_error_leaves_the_running_statistics():
    mean, var, x = np.zeros(4), np.ones(4), random(3, 4)
    for options in ({"weight": np.ones(3)}, {"bias": np.ones(5)}, {"momentum": nan}, {"eps": -1.0}):
        with pytest.raises(ValueError):
            F.batch_norm(x, mean, var, training=True, **options)
    for bad in (random(3, 5), x.astype(int), x[:1]):
        with pytest.raises((ValueError, TypeError)):
            F.batch_norm(bad, mean, var, training=True)
    assert (mean == 0).all() and (var == 1).all()


NORMS = {
    "LayerNorm": lambda **o: nn.LayerNorm(4, **o),
    "RMSNorm": lambda **o: nn.RMSNorm(4, **o),
    "GroupNorm": lambda **o: nn.GroupNorm(2, 4, **o),
    "InstanceNorm": lambda **o: nn.InstanceNorm(4, **o),
    "BatchNorm": lambda **o: nn.BatchNorm(4, **o),
    "layer_norm": lambda **o: F.layer_norm(np.ones((2, 4)), 4, **o),
    "rms_norm": lambda **o: F.rms_norm(np.ones((2, 4)), 4, **o),
    "group_norm": lambda **o: F.group_norm(np.ones((2, 4)), 2, **o),
    "batch_norm": lambda **o: F.batch_norm(np.ones((2, 4)), training=True, **o),
}


def test_the_smallest_eps_keeps_constant_rows_finite():
    """Much smaller ones would be 0 in float32."""
    for norm in NORMS.values():
        norm(eps=1e-38)
    out = F.layer_norm(np.full((2, 4), 3, np.float32), 4, eps=1e-38)
    np.testing.assert_array_equal(out.data, np.zeros((2, 4)))


@pytest.mark.parametrize("owner", NORMS)
@pytest.mark.parametrize("eps", [0, 0.0, 1e-50, -1e-5, nan, inf, -inf])
def test_eps_out_of_range(owner, eps):
    with pytest.raises(ValueError, match=f"^{owner}: expected eps to be a finite number of at least 1e-38, got"):
        NORMS[owner](eps=eps)


@pytest.mark.parametrize("owner", NORMS)
@pytest.mark.parametrize("eps", [None, "1e-5", True, [1e-5], 1j])
def test_eps_that_is_no_number(owner, eps):
    wanted = "a finite number of at least 1e-38"
    with pytest.raises(TypeError, match=f"^{owner}: expected eps to be {wanted}, got .*; pass a float"):
        NORMS[owner](eps=eps)


@pytest.mark.parametrize("owner", ["BatchNorm", "batch_norm"])
@pytest.mark.parametrize("momentum", [-0.1, 1.1, nan, inf])
def test_momentum_out_of_range(owner, momentum):
    with pytest.raises(ValueError, match=rf"^{owner}: expected momentum to be a number in \[0, 1\], got"):
        NORMS[owner](momentum=momentum)


@pytest.mark.parametrize("momentum", ["0.1", True, [0.1]])
def test_momentum_that_is_no_number(momentum):
    with pytest.raises(TypeError, match=r"^BatchNorm: expected momentum to be a number in \[0, 1\], got"):
        nn.BatchNorm(4, momentum=momentum)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: nn.LayerNorm(()), ValueError, "LayerNorm: expected normalized_shape to name at least one axis"),
        (lambda: nn.RMSNorm([]), ValueError, "RMSNorm: expected normalized_shape to name at least one axis"),
        (lambda: F.layer_norm(np.ones(4), ()), ValueError, "layer_norm: expected normalized_shape to name"),
        (lambda: nn.LayerNorm(0), ValueError, "LayerNorm: expected normalized_shape to be at least 1, got 0"),
        (lambda: nn.LayerNorm((3, -1)), ValueError, "expected normalized_shape to be at least 1, got -1"),
        (lambda: nn.LayerNorm(4.0), TypeError, "LayerNorm: expected normalized_shape to be a whole number, got 4.0"),
        (lambda: nn.RMSNorm((True,)), TypeError, "RMSNorm: expected normalized_shape to be a whole number"),
        (lambda: nn.GroupNorm(3, 4), ValueError, "GroupNorm: 3 groups do not divide 4 channels"),
        (lambda: nn.GroupNorm(0, 4), ValueError, "GroupNorm: expected num_groups to be at least 1, got 0"),
        (lambda: nn.GroupNorm(2, 4.0), TypeError, "GroupNorm: expected num_channels to be a whole number"),
        (lambda: nn.InstanceNorm(0), ValueError, "InstanceNorm: expected num_features to be at least 1, got 0"),
        (lambda: nn.InstanceNorm("3"), TypeError, "InstanceNorm: expected num_features to be a whole number"),
        (lambda: nn.BatchNorm(-1), ValueError, "BatchNorm: expected num_features to be at least 1, got -1"),
        (lambda: F.group_norm(np.ones((2, 4)), 2.0), TypeError, "group_norm: expected num_groups to be a whole"),
    ],
)
def test_sizes_that_make_no_sense(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_how_the_layers_print():
    assert repr(nn.LayerNorm(4)) == "LayerNorm((4,), eps=1e-05)  # 8"
    assert repr(nn.RMSNorm((2, 3), eps=1e-6)) == "RMSNorm((2, 3), eps=1e-06)  # 6"
    assert repr(nn.GroupNorm(2, 4)) == "GroupNorm(2, 4, eps=1e-05, affine=True)  # 8"
    assert repr(nn.InstanceNorm(4)) == "InstanceNorm(4, eps=1e-05, affine=False)"
    wanted = "BatchNorm(4, eps=1e-05, momentum=None, affine=False, track_running_stats=True)"
    assert repr(nn.BatchNorm(4, momentum=None, affine=False)) == wanted


def test_the_statistics_of_rows():
    rows = random(5, 9)
    done = standardize(rows, 0.1)
    assert isinstance(done, Standard)
    np.testing.assert_allclose(done.mean, rows.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(done.variance, rows.var(axis=1), rtol=1e-12)
    np.testing.assert_allclose(done.scale, 1 / np.sqrt(rows.var(axis=1) + 0.1), rtol=1e-12)
    raw = standardize(rows, 0.1, centered=False)
    assert (raw.mean == 0).all()
    np.testing.assert_allclose(raw.variance, np.mean(rows**2, axis=1), rtol=1e-12)


def test_the_mean_of_equal_numbers_is_that_number():
    values = np.random.default_rng(0).uniform(1e4, 1e5, 50).astype(np.float32)
    np.testing.assert_array_equal(standardize(np.repeat(values[:, None], 1000, axis=1), 1e-5).mean, values)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, w: F.layer_norm(x, 4, weight=w),
        lambda x, w: F.rms_norm(x, 4, weight=w),
        lambda x, w: F.group_norm(x, 2, bias=w),
        lambda x, w: F.batch_norm(x, weight=w, training=True),
        lambda x, w: F.batch_norm(x, w, w),
    ],
)
def test_lists_instead_of_arrays_are_named(call):
    with pytest.raises(ValueError, match=r"_norm: expected \w+ of shape \(4,\), got a list"):
        call(np.ones((2, 4)), [1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("make", [lambda a: Tensor(a), lambda a: a.astype(np.int64)])
def test_running_statistics_must_be_arrays_of_floats(make, training):
    """A Tensor would be replaced instead of changed, and so the caller's would never move."""
    mean, var = make(np.zeros(4)), make(np.ones(4))
    with pytest.raises(TypeError, match="batch_norm: expected running_mean and running_var to be arrays of floats"):
        F.batch_norm(random(8, 4), mean, var, training=training)
    values = [r.data if isinstance(r, Tensor) else r for r in (mean, var)]
    assert np.all(values[0] == 0) and np.all(values[1] == 1)

"""Convolution and pooling: equal to PyTorch, the same as loops, transposes, gradients, and what they refuse."""

import copy
import pickle
from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import odyssey.nn.functional as F
from odyssey import Tensor, detect_anomaly, gradcheck, nn, no_grad
from odyssey.amp import autocast
from odyssey.data import DataLoader, load_digits
from odyssey.nn.convolution import pooling, rules
from odyssey.nn.convolution.geometry import columns, cropped, images, offsets, output_length, output_size, padded, pair
from odyssey.optim import Adam
from tests.nn.reference import read_reference

# stride, padding, dilation, groups: as in CONVOLUTIONS of make_convolution.py
CONVOLUTIONS = [
    ((1, 1), (0, 0), (1, 1), 1), ((1, 1), (1, 1), (1, 1), 1), ((2, 1), (1, 0), (1, 1), 1), ((2, 3), (2, 1), (2, 1), 1),
    ((1, 2), (0, 3), (3, 2), 1), ((1, 1), (0, 0), (1, 1), 1), ((2, 2), (1, 1), (1, 1), 1), ((1, 1), (1, 1), (1, 1), 2),
    ((2, 1), (1, 2), (1, 2), 3), ((1, 1), (1, 1), (1, 1), 3), ((1, 1), (1, 1), (1, 1), 4), ((2, 2), (1, 1), (1, 1), 3),
    ((2, 3), (2, 0), (2, 3), 3), ((1, 1), (0, 0), (1, 1), 2), ((1, 1), (1, 1), (1, 1), 1), ((1, 1), (1, 1), (1, 1), 2),
]  # fmt: skip
# kernel, stride, padding: as in POOLINGS there
POOLINGS = [
    ((2, 2), (2, 2), (0, 0)), ((2, 2), (2, 2), (0, 0)), ((3, 3), (2, 2), (1, 1)), ((3, 2), (1, 1), (1, 1)),
    ((2, 3), (3, 4), (1, 0)), ((4, 5), (4, 5), (0, 0)), ((1, 1), (2, 2), (0, 0)),
]  # fmt: skip
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}


REFERENCE = read_reference("convolution", typed=True)
CASES = [case for case in REFERENCE if case != "network"]


def rng(seed=0):
    return np.random.default_rng(seed)


def leaf(*shape, dtype=np.float64, seed=1):
    return Tensor(rng(seed).normal(size=shape).astype(dtype), requires_grad=True)


def channels_first(x):
    """Equal to x (N, C, H, W), with the channels first in memory."""
    return np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1)


def run(case, layout):
    """The function of a case with its options: (out, leaves)."""
    kind, _, number, *_ = case.split()
    a = REFERENCE[case]
    leaves = {k: Tensor(a[k].copy(), True) for k in ("x", "weight", "bias") if k in a}
    leaves["x"] = Tensor(layout(a["x"]), True)
    if kind == "conv2d":
        out = F.conv2d(leaves["x"], leaves["weight"], leaves.get("bias"), *CONVOLUTIONS[int(number)])
    else:
        out = getattr(F, kind)(leaves["x"], *POOLINGS[int(number)])
    return out, leaves


# ---- PyTorch ----


def test_the_reference_has_all_kinds():
    assert len(CASES) == 2 * (len(CONVOLUTIONS) + 4 * len(POOLINGS))
    assert {case.split()[0] for case in CASES} == {"conv2d", "max_pool2d", "avg_pool2d"}
    assert sum("bias" in REFERENCE[case] for case in CASES) == 2 * 12


@pytest.mark.parametrize("layout", [np.copy, channels_first, np.asfortranarray])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_pytorch(case, layout):
    a = REFERENCE[case]
    out, leaves = run(case, layout)
    dtype = a["x"].dtype
    assert out.shape == a["out"].shape and out.dtype == dtype
    tolerance = TOLERANCE[dtype.name]
    np.testing.assert_allclose(out.data, a["out"], rtol=tolerance, atol=tolerance)
    out.backward(layout(a["g"]) if a["g"].size else a["g"])
    for name, value in leaves.items():
        assert value.grad.dtype == dtype
        np.testing.assert_allclose(value.grad, a[f"d{name}"], rtol=tolerance, atol=tolerance, err_msg=name)


def network(r):
    return nn.Sequential(
        nn.Conv2D(1, 4, 3, padding=1, rng=r), nn.ReLU(), nn.MaxPool2D(2),
        nn.DepthwiseSeparableConv2D(4, 6, 3, padding=1, rng=r), nn.ReLU(),
        nn.GlobalAvgPool2D(), nn.Flatten(), nn.Linear(6, 3, rng=r),
    )  # fmt: skip


def test_a_network_is_that_of_pytorch():
    a, net = REFERENCE["network"], network(rng()).to(np.float64)
    for i, p in enumerate(net.parameters()):
        assert p.shape == a[f"weight{i}"].shape
        p.data = a[f"weight{i}"].copy()
    x = Tensor(a["x"].copy(), requires_grad=True)
    out = net(x)
    out.backward(a["g"])
    np.testing.assert_allclose(out.data, a["out"], atol=1e-12)
    np.testing.assert_allclose(x.grad, a["dx"], atol=1e-12)
    for i, p in enumerate(net.parameters()):
        np.testing.assert_allclose(p.grad, a[f"dweight{i}"], atol=1e-12)


def test_names_and_layouts_are_those_of_pytorch():
    net = nn.Sequential(nn.Conv2D(4, 6, (3, 2), groups=2), nn.DepthwiseSeparableConv2D(6, 5, 3))
    assert {k: v.shape for k, v in net.state_dict().items()} == {
        "0.weight": (6, 2, 3, 2), "0.bias": (6,), "1.depthwise.weight": (6, 1, 3, 3), "1.depthwise.bias": (6,),
        "1.pointwise.weight": (5, 6, 1, 1), "1.pointwise.bias": (5,),
    }  # fmt: skip
    plain = nn.DepthwiseSeparableConv2D(6, 5, 3, bias=False)
    assert list(plain.state_dict()) == ["depthwise.weight", "pointwise.weight"]


# ---- the same as loops ----


def loops(x, w, b, stride, padding, dilation, groups):
    """Equation (1) of the chapter, pixel by pixel."""
    (n, _, h, v), (o, share, kh, kw) = x.shape, w.shape
    size = [
        (m + 2 * p - d * (k - 1) - 1) // s + 1
        for m, p, d, k, s in zip((h, v), padding, dilation, (kh, kw), stride, strict=True)
    ]
    out = np.zeros((n, o, *size))
    for m, k, y, z in np.ndindex(out.shape):
        total = b[k]
        for q, i, j in product(range(share), range(kh), range(kw)):
            row, column = y * stride[0] + i * dilation[0] - padding[0], z * stride[1] + j * dilation[1] - padding[1]
            if 0 <= row < h and 0 <= column < v:
                total += w[k, q, i, j] * x[m, k // (o // groups) * share + q, row, column]
        out[m, k, y, z] = total
    return out


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(0, 2), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2), st.tuples(*[st.integers(1, 6)] * 2),
    pairs, pairs, st.tuples(*[st.integers(0, 2)] * 2), pairs, st.integers(0, 99),
)  # fmt: skip
def test_convolution_is_the_sum_of_the_formula(n, groups, share, outs, size, kernel, stride, padding, dilation, seed):
    r = rng(seed)
    x, w = r.normal(size=(n, groups * share, *size)), r.normal(size=(groups * outs, share, *kernel))
    b = r.normal(size=len(w))
    options = stride, padding, dilation, groups
    if any(d * (k - 1) + 1 > m + 2 * p for m, p, d, k in zip(size, padding, dilation, kernel, strict=True)):
        with pytest.raises(ValueError, match=r"^conv2d: a kernel of .* does not fit in images of .*; pad more"):
            F.conv2d(x, w, b, *options)
        return
    out = F.conv2d(x, w, b, *options)
    expected = loops(x, w, b, *options)
    assert out.shape == expected.shape
    np.testing.assert_allclose(out.data, expected, atol=1e-12)
    np.testing.assert_allclose(F.conv2d(x, w, None, *options).data, expected - b[:, None, None], atol=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(0, 2), st.integers(1, 3), st.tuples(*[st.integers(1, 7)] * 2), pairs, st.none() | pairs,
    st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_poolings_are_those_of_loops_and_keep_the_sum_of_the_gradient(n, c, size, kernel, stride, border, seed):
    padding = (kernel[0] // 2, kernel[1] // 2) if border else (0, 0)
    steps = stride or kernel
    if any(k > m + 2 * p for m, p, k in zip(size, padding, kernel, strict=True)):
        return
    x = rng(seed).integers(-2, 3, (n, c, *size)).astype(float)
    edge = ((0, 0), (0, 0), *((p, p) for p in padding))
    for pool, number, fill in ((F.max_pool2d, np.max, -np.inf), (F.avg_pool2d, np.mean, 0.0)):
        wide = np.pad(x, edge, constant_values=fill)
        seen = np.lib.stride_tricks.sliding_window_view(wide, kernel, axis=(2, 3))[:, :, :: steps[0], :: steps[1]]
        leaf = Tensor(x, requires_grad=True)
        out = pool(leaf, kernel, stride, padding)
        np.testing.assert_allclose(out.data, number(seen, axis=(4, 5)), atol=1e-15)
        g = rng(seed + 1).normal(size=out.shape)
        out.backward(g)
        if number is np.max:  # each window's gradient goes to its first largest element
            expected = np.zeros_like(wide)
            for m, k, y, z in np.ndindex(out.shape):
                i, j = divmod(int(seen[m, k, y, z].argmax()), kernel[1])
                expected[m, k, y * steps[0] + i, z * steps[1] + j] += g[m, k, y, z]
            np.testing.assert_allclose(leaf.grad, cropped(expected, padding), atol=1e-14)
        elif not border:
            np.testing.assert_allclose(leaf.grad.sum(), g.sum(), atol=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(0, 2), st.integers(1, 3), st.tuples(*[st.integers(1, 7)] * 2), pairs, pairs, pairs, st.integers(0, 99)
)
def test_images_is_the_transpose_of_columns(n, c, size, kernel, stride, dilation, seed):
    if any(d * (k - 1) + 1 > m for m, d, k in zip(size, dilation, kernel, strict=True)):
        return
    out = output_size("test", size, kernel, stride, (0, 0), dilation)
    x = rng(seed).normal(size=(c, n, *size))
    seen = columns(x, kernel, stride, dilation, out, 1)
    assert seen.shape == (1, c * prod(kernel), n * prod(out))
    y = rng(seed + 1).normal(size=seen.shape)
    back = images(y, x.shape, kernel, stride, dilation, out)
    np.testing.assert_allclose(np.sum(seen * y), np.sum(x * back), atol=1e-10)


@pytest.mark.parametrize("stride, padding, dilation", [((1, 1), (1, 1), (1, 1)), ((2, 3), (2, 0), (2, 1))])
def test_shifts_and_products_agree(stride, padding, dilation):
    x, w = rng().normal(size=(3, 5, 9, 8)), rng(1).normal(size=(5, 1, 3, 2))
    out, vjp = rules.shifts(x, w, stride, padding, dilation)
    other, for_x, for_weight = rules.products(x, w, stride, padding, dilation, 5)
    np.testing.assert_allclose(out, other, atol=1e-13)
    g = rng(2).normal(size=out.shape)
    for a, b in zip(vjp(g), (for_x(g), for_weight(g)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_a_row_of_several_blocks_is_as_one():
    x, w = rng().normal(size=(70, 2, 32, 32)), rng(1).normal(size=(2, 1, 3, 3))
    assert 70 * 34 * 34 > rules.BLOCK
    out, vjp = rules.shifts(x, w, (1, 1), (1, 1), (1, 1))
    other, for_x, for_weight = rules.products(x, w, (1, 1), (1, 1), (1, 1), 2)
    np.testing.assert_allclose(out, other, atol=1e-13)
    g = rng(2).normal(size=out.shape)
    for a, b in zip(vjp(g), (for_x(g), for_weight(g)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)


@pytest.mark.parametrize("channels, shape", [(5, (50, 32, 32)), (2, (140, 32, 32))])
def test_pooling_in_several_blocks_is_as_in_one(channels, shape):
    n, h, w = shape
    x = Tensor(rng().integers(0, 3, (n, channels, h, w)).astype("f"), requires_grad=True)
    assert x.size > pooling.BLOCK and pooling.BLOCK // prod(shape) in (0, 2)  # a channel is too large; 2 + 2 + 1
    out = F.max_pool2d(x, 2)
    windows = x.data.reshape(n, channels, h // 2, 2, w // 2, 2).swapaxes(3, 4).reshape(*out.shape, 4)
    np.testing.assert_array_equal(out.data, windows.max(axis=-1))
    g = rng(1).normal(size=out.shape).astype("f")
    out.backward(g)
    first = np.arange(4) == windows.argmax(axis=-1)[..., np.newaxis]
    expected = (first * g[..., np.newaxis]).reshape(n, channels, h // 2, w // 2, 2, 2).swapaxes(3, 4)
    np.testing.assert_array_equal(x.grad, expected.reshape(x.shape))


def test_a_group_sees_only_its_channels():
    x, w = rng().normal(size=(2, 6, 5, 5)), rng(1).normal(size=(4, 3, 3, 3))
    out = F.conv2d(x, w, groups=2).data
    for k in (0, 1):
        part = F.conv2d(x[:, 3 * k : 3 * k + 3], w[2 * k : 2 * k + 2]).data
        np.testing.assert_allclose(out[:, 2 * k : 2 * k + 2], part, atol=1e-13)


def test_a_pointwise_convolution_is_a_linear_layer_at_each_pixel():
    x, w, b = rng().normal(size=(2, 3, 4, 5)), rng(1).normal(size=(6, 3)), rng(2).normal(size=6)
    expected = F.linear(Tensor(np.moveaxis(x, 1, -1)), Tensor(w), Tensor(b)).data
    np.testing.assert_allclose(F.conv2d(x, w[:, :, None, None], b).data, np.moveaxis(expected, -1, 1), atol=1e-13)


def test_a_kernel_of_the_images_size_is_a_linear_layer():
    x, w = rng().normal(size=(2, 3, 4, 5)), rng(1).normal(size=(6, 3, 4, 5))
    np.testing.assert_allclose(
        F.conv2d(x, w).data[:, :, 0, 0], x.reshape(2, -1) @ w.reshape(6, -1).T, atol=1e-12
    )  # fmt: skip


def test_the_result_moves_with_the_image():
    x, w = np.zeros((1, 2, 12, 12)), rng(1).normal(size=(3, 2, 3, 3))
    x[:, :, 3:8, 3:8] = rng().normal(size=(1, 2, 5, 5))
    out = F.conv2d(x, w, padding=1).data
    moved = F.conv2d(np.roll(x, (1, 2), axis=(2, 3)), w, padding=1).data
    np.testing.assert_allclose(moved, np.roll(out, (1, 2), axis=(2, 3)), atol=1e-14)


def test_a_separable_layer_is_a_dense_one_of_rank_one():
    layer = nn.DepthwiseSeparableConv2D(3, 5, 3, padding=1, rng=rng()).to(np.float64)
    depth, point = layer.depthwise, layer.pointwise
    weight = point.weight.data * depth.weight.data[:, 0]
    bias = point.bias.data + point.weight.data[:, :, 0, 0] @ depth.bias.data
    x = rng(1).normal(size=(2, 3, 6, 6))
    np.testing.assert_allclose(layer(Tensor(x)).data, F.conv2d(x, weight, bias, padding=1).data, atol=1e-13)
    assert all(np.linalg.matrix_rank(weight[:, c].reshape(5, -1)) == 1 for c in range(3))


@pytest.mark.parametrize("n, k, s, p, d", list(product((5, 8), (1, 3), (1, 2, 3), (0, 1), (1, 2))))
def test_output_length_counts_the_places(n, k, s, p, d):
    span = d * (k - 1) + 1
    assert output_length(n, k, s, p, d) == len(range(0, n + 2 * p - span + 1, s))


def test_offsets_padding_and_cropping():
    x = rng().normal(size=(2, 5, 6))
    assert padded(x, (0, 0)) is x
    wide = padded(x, (1, 2), -3.0)
    assert wide.shape == (2, 7, 10) and wide[0, 0, 0] == wide[1, -1, -1] == wide[0, 3, 1] == -3
    np.testing.assert_array_equal(cropped(wide, (1, 2)), x)
    np.testing.assert_array_equal(cropped(x, (0, 0)), x)
    seen = [x[index] for index in offsets((2, 2), (2, 3), (1, 2), (2, 2))]
    assert len(seen) == 4 and all(part.shape == (2, 2, 2) for part in seen)
    np.testing.assert_array_equal(seen[3], x[:, [1, 3]][:, :, [2, 5]])


# ---- gradients ----

OPTIONS = list(product((1, (2, 1)), (0, (1, 2)), (1, (1, 2)), ((2, 3, 1), (4, 2, 2), (3, 3, 3), (2, 4, 2))))


@pytest.mark.parametrize("stride, padding, dilation, shape", OPTIONS)
def test_gradients_of_convolution_against_differences(stride, padding, dilation, shape):
    c, o, groups = shape
    arrays = [rng(k).normal(size=s) for k, s in enumerate(((2, c, 5, 6), (o, c // groups, 3, 2), (o,)))]
    g = rng(9).normal(size=F.conv2d(*arrays, stride, padding, dilation, groups).shape)

    def loss(*inputs):
        return (F.conv2d(*inputs, stride=stride, padding=padding, dilation=dilation, groups=groups) * g).sum()

    assert gradcheck(loss, *arrays) and gradcheck(loss, *arrays[:2])


@pytest.mark.parametrize(
    "kernel, stride, padding", [(2, 2, 0), (3, 2, 1), ((2, 3), 1, 1), ((5, 4), None, 0), (2, 3, 1)]
)
@pytest.mark.parametrize("pool", [F.max_pool2d, F.avg_pool2d])
def test_gradients_of_pooling_against_differences(pool, kernel, stride, padding):
    x = rng().permutation(60).reshape(1, 2, 6, 5) / 7.0  # no ties, and none within a step
    g = rng(1).normal(size=pool(x, kernel, stride, padding).shape)
    assert gradcheck(lambda x: (pool(x, kernel, stride, padding) * g).sum(), x)


def test_gradients_through_layers_against_differences():
    net = network(rng()).to(np.float64)
    x, g = rng(1).normal(size=(2, 1, 6, 6)), rng(2).normal(size=(2, 3))
    parameters = list(net.parameters())

    def loss(x, *values):
        for p, value in zip(parameters, values, strict=True):
            holder[p] = value
        h = F.conv2d(x, values[0], values[1], padding=1)
        h = F.max_pool2d(F.relu(h), 2)
        h = F.conv2d(F.conv2d(h, values[2], values[3], padding=1, groups=4), values[4], values[5])
        return (F.linear(nn.GlobalAvgPool2D()(F.relu(h)).reshape(2, -1), values[6], values[7]) * g).sum()

    holder = {}
    assert gradcheck(loss, x, *(p.data for p in parameters))
    np.testing.assert_allclose(loss(Tensor(x), *parameters).data, (net(Tensor(x)) * g).sum().data, rtol=1e-12)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_only_needed_gradients_arrive(groups):
    x, w, b = rng().normal(size=(2, 4, 5, 5)), rng(1).normal(size=(4, 4 // groups, 3, 3)), rng(2).normal(size=4)
    for needs in product((True, False), repeat=3):
        leaves = [Tensor(a.copy(), n) for a, n in zip((x, w, b), needs, strict=True)]
        out = F.conv2d(*leaves, groups=groups)
        assert out.requires_grad is any(needs)
        if any(needs):
            out.sum().backward()
        assert [p.grad is not None for p in leaves] == list(needs)


@pytest.mark.parametrize("groups", [1, 4])
def test_inputs_stay_as_they_are_and_a_second_backward_gives_the_same(groups):
    arrays = [rng().normal(size=(2, 4, 5, 5)), rng(1).normal(size=(4, 4 // groups, 3, 3)), rng(2).normal(size=4)]
    leaves = [Tensor(a.copy(), True) for a in arrays]
    out = F.max_pool2d(F.conv2d(*leaves, padding=1, groups=groups), 2, 1)
    g = rng(3).normal(size=out.shape)
    kept = g.copy()
    out.backward(g, retain_tape=True)
    first = [p.grad.copy() for p in leaves]
    out.backward(g)
    np.testing.assert_array_equal(g, kept)
    for p, a, once in zip(leaves, arrays, first, strict=True):
        np.testing.assert_array_equal(p.data, a)
        np.testing.assert_allclose(p.grad, 2 * once, rtol=1e-14)


@pytest.mark.parametrize("groups", [1, 4])
def test_anomaly_detection_passes_and_notices_a_changed_image(groups):
    w = leaf(4, 4 // groups, 3, 3)
    with detect_anomaly():
        x = leaf(2, 4, 6, 6)
        out = F.avg_pool2d(F.max_pool2d(F.conv2d(x, w, groups=groups), 2, 1), 2).sum()
        out.backward(retain_tape=True)
        out.backward()
        pooled = F.max_pool2d(x, 2).sum()
        x.data[0, 0, 0, 0] = 9.0
        with pytest.raises(RuntimeError, match=r"_max_pool2d: an array of shape .* was changed in place"):
            pooled.backward()


def test_the_same_layer_twice_adds_both_gradients():
    layer, x = nn.Conv2D(2, 2, 3, padding=1, rng=rng()).to(np.float64), rng().normal(size=(1, 2, 4, 4))
    assert gradcheck(lambda x: layer(layer(x)), x)
    layer.zero_grad()
    y = layer(layer(Tensor(x)))
    g = rng(1).normal(size=y.shape)
    y.backward(g)
    total = layer.weight.grad
    w = layer.weight.data
    parts = [Tensor(w.copy(), True) for _ in range(2)]
    F.conv2d(F.conv2d(x, parts[0], layer.bias.data, padding=1), parts[1], layer.bias.data, padding=1).backward(g)
    np.testing.assert_allclose(total, parts[0].grad + parts[1].grad, atol=1e-12)


def test_ties_go_to_the_first_and_infinite_gradients_to_one_element_only():
    x = Tensor(np.zeros((1, 1, 2, 4)), requires_grad=True)
    F.max_pool2d(x, 2).backward(np.array([[[[np.inf, 2.0]]]]))
    assert x.grad.tolist() == [[[[np.inf, 0, 2, 0], [0, 0, 0, 0]]]]


def test_nan_spoils_its_windows_and_no_others():
    x = np.zeros((1, 1, 4, 4))
    x[0, 0, 0, 0] = np.nan
    for out in (F.max_pool2d(x, 2), F.avg_pool2d(x, 2), F.conv2d(x, np.ones((1, 1, 2, 2)), stride=2)):
        assert np.isnan(out.data[0, 0]).tolist() == [[True, False], [False, False]]
    both = np.concatenate([x, x], axis=1)
    out = F.conv2d(both, np.ones((2, 1, 2, 2)), stride=2, groups=2)
    assert np.isnan(out.data[0, 1]).tolist() == [[True, False], [False, False]]


# ---- dtypes, arrays, modes ----


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dtypes", [("f4", "f8"), ("f8", "f4"), ("f4", "f4"), ("f2", "f2")])
def test_the_wider_dtype_wins_and_gradients_keep_their_own(groups, dtypes):
    x, w = leaf(1, 2, 4, 4, dtype=dtypes[0]), leaf(2, 2 // groups, 3, 3, dtype=dtypes[1], seed=2)
    out = F.conv2d(x, w, groups=groups)
    assert out.dtype == max(dtypes)
    out.sum().backward()
    assert x.grad.dtype == dtypes[0] and w.grad.dtype == dtypes[1]
    exact = F.conv2d(x.data.astype("f8"), w.data.astype("f8"), groups=groups).data
    np.testing.assert_allclose(out.data, exact, atol=2e-2 if "f2" in dtypes else 1e-5)


@pytest.mark.parametrize("groups", [1, 2])
def test_autocast_rounds_the_inputs_and_returns_float32(groups):
    x, w = leaf(1, 2, 4, 4, dtype="f4"), leaf(2, 2 // groups, 3, 3, dtype="f4", seed=2)
    with autocast():
        out = F.conv2d(x, w, groups=groups)
    exact = F.conv2d(*(a.data.astype("f2").astype("f4") for a in (x, w)), groups=groups).data
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.data, exact, rtol=1e-6)
    assert not np.array_equal(out.data, F.conv2d(x, w, groups=groups).data)


def test_arrays_are_accepted_and_nothing_is_recorded_without_need():
    x, layer = rng().normal(size=(1, 2, 4, 4)).astype("f"), nn.Conv2D(2, 3, 3)
    np.testing.assert_array_equal(layer(x).data, layer(Tensor(x)).data)
    assert not F.conv2d(x, layer.weight.data).requires_grad
    with no_grad():
        assert not layer(Tensor(x)).requires_grad
    assert layer(Tensor(x)).requires_grad


def test_the_first_weights_are_uniform_with_pytorchs_bounds():
    layer = nn.Conv2D(8, 200, 3, groups=2, rng=rng())
    bound = 1 / np.sqrt(4 * 9)
    for p in (layer.weight, layer.bias):
        assert p.dtype == np.float32 and np.abs(p.data).max() <= bound
        assert np.abs(p.data).max() > 0.95 * bound and abs(p.data.std() / (bound / np.sqrt(3)) - 1) < 0.1


def test_the_generator_decides_the_weights():
    one, two, other = (nn.DepthwiseSeparableConv2D(3, 4, 3, rng=rng(s)) for s in (1, 1, 2))
    for a, b, c in zip(one.parameters(), two.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)
        assert not np.array_equal(a.data, c.data)


def test_layers_pass_their_options_on():
    x = rng().normal(size=(2, 4, 9, 8)).astype("f")
    options = {"stride": (2, 1), "padding": (1, 2), "dilation": (2, 1)}
    layer = nn.Conv2D(4, 6, (3, 2), groups=2, **options)
    expected = F.conv2d(x, layer.weight, layer.bias, groups=2, **options)
    np.testing.assert_array_equal(layer(x).data, expected.data)
    separable = nn.DepthwiseSeparableConv2D(4, 6, (3, 2), **options)
    assert separable.depthwise.groups == 4 and separable.pointwise.kernel_size == (1, 1)
    first = F.conv2d(x, separable.depthwise.weight, separable.depthwise.bias, groups=4, **options)
    np.testing.assert_array_equal(separable(x).data, separable.pointwise(first).data)
    np.testing.assert_array_equal(nn.MaxPool2D(3, 2, 1)(x).data, F.max_pool2d(x, 3, 2, 1).data)
    np.testing.assert_array_equal(nn.AvgPool2D((3, 2))(x).data, F.avg_pool2d(x, (3, 2), (3, 2)).data)
    np.testing.assert_allclose(
        nn.GlobalAvgPool2D()(Tensor(x)).data, x.mean(axis=(2, 3), keepdims=True), rtol=1e-6, atol=1e-7
    )  # fmt: skip


def test_representations():
    assert repr(nn.Conv2D(3, 4, 3)).startswith("Conv2D(3, 4, kernel_size=(3, 3))")
    text = repr(nn.Conv2D(4, 4, 3, 2, 1, 2, 4, bias=False))
    assert "stride=(2, 2), padding=(1, 1), dilation=(2, 2), groups=4, bias=False" in text
    assert "kernel_size=(2, 2), stride=(2, 2), padding=(0, 0)" in repr(nn.MaxPool2D(2))


def test_copies_and_state_dictionaries():
    net = network(rng())
    x = rng(1).normal(size=(2, 1, 8, 8)).astype("f")
    other = network(rng(5))
    assert not np.array_equal(other(x).data, net(x).data)
    other.load_state_dict(net.state_dict())
    for twin in (other, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(twin(x).data, net(x).data)


def test_a_wrong_state_dictionary_changes_nothing():
    net = network(rng())
    state = {k: v.copy() for k, v in net.state_dict().items()}
    wrong = {k: v + 1 for k, v in state.items()} | {"3.pointwise.weight": np.zeros((6, 4, 3, 3), "f")}
    with pytest.raises(ValueError, match=r"3\.pointwise\.weight"):
        net.load_state_dict(wrong)
    for k, v in net.state_dict().items():
        np.testing.assert_array_equal(v, state[k])


# ---- refused ----

X, W = np.zeros((2, 4, 5, 5)), np.zeros((6, 4, 3, 3))


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X[0], W), {}, ValueError, r"conv2d: expected input of shape \(N, C, H, W\), got \(4, 5, 5\); .* x\[None\]"),
        ((X, W[0]), {}, ValueError, r"conv2d: expected weight \(O, C/groups, kH, kW\).* got \(4, 3, 3\)"),
        ((X, W[:0]), {}, ValueError, r"conv2d: expected weight .*none of them 0"),
        ((X[:, :3], W), {}, ValueError, r"conv2d: a weight of shape .* needs images of 4 channels, got \(2, 3, 5, 5\)"),
        ((X, W), {"groups": 2}, ValueError, r"with groups=2 needs images of 8 channels"),
        ((X, W[:3, :2]), {"groups": 2}, ValueError, r"groups=2 does not divide the 3 output channels"),
        ((X, W, np.zeros(4)), {}, ValueError, r"conv2d: expected bias \(6,\), one number for each .* got \(4,\)"),
        ((X, W, np.zeros((6, 1, 1))), {}, ValueError, r"expected bias \(6,\)"),
        ((X[:, :, :2], W), {}, ValueError, r"kernel of \(3, 3\) with .* does not fit in images of \(2, 5\)"),
        ((X, W), {"dilation": 3}, ValueError, r"with dilation \(3, 3\) does not fit in images of \(5, 5\)"),
        ((X[:, :, :0], W), {"padding": 2}, ValueError, r"the images of shape \(4, 0, 5\) are empty; only N may be 0"),
        ((X.tolist(), W), {}, TypeError, r"expected a Tensor or an array, got list; wrap it: Tensor\(x\)"),
        ((X.astype(int), W), {}, TypeError, r"expected floats, got int\d+; convert with astype"),
        ((X.astype(bool), W), {}, TypeError, r"expected floats, got bool"),
        ((X, W.astype(int)), {}, TypeError, r"expected floats as weight, got int\d+"),
        ((X, W.tolist()), {}, TypeError, r"expected weight to be a Tensor or an array, got list"),
        ((X, None), {}, TypeError, r"expected weight to be a Tensor or an array, got NoneType"),
        ((X, W, 0.0), {}, TypeError, r"expected bias to be a Tensor or an array, got float"),
        ((X, W), {"stride": 0}, ValueError, r"expected stride to be at least 1, got 0"),
        ((X, W), {"stride": 1.0}, TypeError, r"expected stride to be a whole number, got 1.0"),
        ((X, W), {"stride": (1, 2, 3)}, ValueError, r"expected stride to be a number or a pair, got \(1, 2, 3\)"),
        ((X, W), {"padding": -1}, ValueError, r"expected padding to be at least 0, got -1"),
        ((X, W), {"padding": "same"}, TypeError, r"expected padding to be a whole number, got 'same'"),
        ((X, W), {"padding": np.nan}, TypeError, r"expected padding to be a whole number, got nan"),
        ((X, W), {"dilation": (1, 0)}, ValueError, r"expected dilation to be at least 1, got 0"),
        ((X, W), {"groups": True}, TypeError, r"expected groups to be a whole number, got True"),
        ((X, W), {"groups": 0}, ValueError, r"expected groups to be at least 1"),
    ],
)  # fmt: skip
def test_what_conv2d_refuses(arguments, options, error, message):
    with pytest.raises(error, match=f"^conv2d: .*{message.removeprefix('conv2d: ')}"):
        F.conv2d(*arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((4, 6, 0), {}, ValueError, "expected kernel_size to be at least 1, got 0"),
        ((4, 6, 3.0), {}, TypeError, "expected kernel_size to be a whole number, got 3.0"),
        ((4, 6, (3, 3, 3)), {}, ValueError, "expected kernel_size to be a number or a pair"),
        ((0, 6, 3), {}, ValueError, "expected in_channels to be at least 1, got 0"),
        ((4, "6", 3), {}, TypeError, "expected out_channels to be a whole number, got '6'"),
        ((4, 6, 3), {"groups": 3}, ValueError, "groups=3 must divide both the 4 input and the 6 output channels"),
        ((4, 6, 3), {"groups": 4}, ValueError, "groups=4 must divide both the 4 input and the 6 output channels"),
        ((4, 6, 3), {"padding": -1}, ValueError, "expected padding to be at least 0, got -1"),
        ((4, 6, 3), {"rng": 0}, TypeError, "expected rng to be a numpy Generator, got int"),
    ],
)
def test_what_the_layer_refuses(arguments, options, error, message):
    with pytest.raises(error, match=f"^Conv2D: {message}"):
        nn.Conv2D(*arguments, **options)
    if "groups" not in options:
        name = "DepthwiseSeparableConv2D" if "rng" in options else "Conv2D"
        with pytest.raises(error, match=f"^{name}: {message}"):
            nn.DepthwiseSeparableConv2D(*arguments, **options)


@pytest.mark.parametrize("shape", [(4, 5, 5), (2, 3, 5, 5), (2, 5, 5, 4), (2, 4, 5), (2, 4, 5, 5, 1)])
def test_a_layer_names_itself_and_the_channels_it_expects(shape):
    layer = nn.Conv2D(4, 6, 3)
    before = layer.weight.data.copy()
    message = r"^Conv2D\(4, 6, kernel_size=\(3, 3\)\): expected input of shape \(N, 4, H, W\), got"
    with pytest.raises(ValueError, match=message):
        layer(Tensor(np.zeros(shape)))
    np.testing.assert_array_equal(layer.weight.data, before)
    assert layer.weight.grad is None


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "MaxPool2D", "AvgPool2D"])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ((0,), ValueError, "expected kernel_size to be at least 1, got 0"),
        (((2, 2, 2),), ValueError, "expected kernel_size to be a number or a pair"),
        ((2.0,), TypeError, "expected kernel_size to be a whole number"),
        ((2, 0), ValueError, "expected stride to be at least 1"),
        ((2, 1, -1), ValueError, "expected padding to be at least 0"),
        ((2, 1, 2), ValueError, r"padding \(2, 2\) is more than half of the kernel \(2, 2\).*pad less"),
        (((3, 1), 1, (1, 1)), ValueError, r"padding \(1, 1\) is more than half of the kernel \(3, 1\)"),
    ],
)
def test_what_poolings_refuse(name, options, error, message):
    make = getattr(nn, name) if name[0].isupper() else lambda *options: getattr(F, name)(X, *options)
    with pytest.raises(error, match=f"^{name}: {message}"):
        make(*options)


@pytest.mark.parametrize("pool", [F.max_pool2d, F.avg_pool2d, lambda x, k: nn.GlobalAvgPool2D()(x)])
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (X[0], ValueError, r"expected input of shape \(N, C, H, W\), got \(4, 5, 5\)"),
        (X[:, :, :, :0], ValueError, r"are empty; only N may be 0"),
        (X.astype(int), TypeError, r"expected floats, got int\d+"),
        (X.tolist(), TypeError, "expected a Tensor or an array, got list"),
    ],
)
def test_images_that_poolings_refuse(pool, x, error, message):
    with pytest.raises(error, match=f"^(max_pool2d|avg_pool2d|GlobalAvgPool2D): .*{message}"):
        pool(x, 2)


def test_windows_that_do_not_fit_are_refused():
    for name in ("max_pool2d", "avg_pool2d"):
        with pytest.raises(ValueError, match=rf"^{name}: a kernel of \(6, 6\) .* does not fit in images of \(5, 5\)"):
            getattr(F, name)(X, 6)


def test_pairs():
    assert pair("f", "stride", 2) == pair("f", "stride", [2, 2]) == pair("f", "stride", np.int64(2)) == (2, 2)
    assert pair("f", "padding", (0, 1), 0) == (0, 1)
    with pytest.raises(TypeError, match="f: expected stride to be a whole number, got None"):
        pair("f", "stride", None)


# ---- what it is for ----


def accuracy(net, X, y):
    with no_grad():
        return np.mean(net(Tensor(X)).data.argmax(axis=1) == y)


@pytest.mark.parametrize("kind", [nn.Conv2D, nn.DepthwiseSeparableConv2D])
def test_a_network_learns_the_digits(kind):
    r, data = rng(), load_digits()
    net = nn.Sequential(
        nn.Conv2D(1, 12, 3, padding=1, rng=r), nn.ReLU(), kind(12, 24, 3, padding=1, rng=r), nn.ReLU(),
        nn.MaxPool2D(2), kind(24, 32, 3, padding=1, rng=r), nn.ReLU(), nn.MaxPool2D(4), nn.Flatten(),
        nn.Linear(32, 10, rng=r),
    )  # fmt: skip
    optimizer = Adam(net.parameters(), lr=0.01)
    for _ in range(6):
        for X, y in DataLoader(*data["train"], batch_size=50, rng=r):
            F.cross_entropy(net(Tensor(X)), y).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert accuracy(net, *data["test"]) > 0.9


def test_a_layer_finds_a_kernel_again():
    true = rng().normal(size=(2, 3, 3, 3))
    x = rng(1).normal(size=(64, 3, 6, 6))
    y, layer = F.conv2d(x, true, padding=1).data, nn.Conv2D(3, 2, 3, padding=1, rng=rng(2)).to(np.float64)
    optimizer = Adam(layer.parameters(), lr=0.05)
    for _ in range(150):
        F.mse_loss(layer(Tensor(x)), Tensor(y)).backward()
        optimizer.step()
        optimizer.zero_grad()
    np.testing.assert_allclose(layer.weight.data, true, atol=0.01)
    np.testing.assert_allclose(layer.bias.data, 0, atol=0.01)

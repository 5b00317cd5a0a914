"""Clipping against PyTorch and Optax, at the edges of the number formats, and with what it must refuse."""

from math import inf, isnan, nan, sqrt
from pathlib import Path

import numpy as np
import pytest

from odyssey import Tensor
from odyssey.optim.clipping import clip_grad_norm, clip_grad_value, total_norm
from odyssey.optim.sgd import BLOCK
from tests.reference.make_clipping import CLIP_VALUE, MAX_NORM, NORMS, SHAPES

REFERENCE = Path(__file__).parents[1] / "reference" / "clipping.npz"
PRECISIONS = pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])


@pytest.fixture(scope="module")
def reference():
    with np.load(REFERENCE) as stored:
        return dict(stored)


def leaf(gradient, dtype=None):
    """A Tensor with this gradient, or with none."""
    g = None if gradient is None else np.asarray(gradient, dtype)
    p = Tensor(np.zeros(1 if g is None else g.shape, np.float64 if g is None else g.dtype), requires_grad=True)
    p.grad = g
    return p


def length(*arrays, power=2.0):
    """The norm, from the definition, in long double."""
    flat = np.concatenate([np.abs(np.asarray(a, np.longdouble)).ravel() for a in arrays])
    return float(flat.max()) if power == inf else float(np.sum(flat**power) ** (1 / np.longdouble(power)))


# ---- other libraries ----


@PRECISIONS
@pytest.mark.parametrize("norm_type", NORMS)
@pytest.mark.parametrize(("name", "limit"), [("clipped", MAX_NORM), ("kept", 1e6)])
@pytest.mark.parametrize("tensors", [True, False])
def test_norms_and_gradients_are_those_of_pytorch(reference, dtype, tolerance, norm_type, name, limit, tensors) -> None:
    gradients = [reference[f"{dtype}_{i}"].copy() for i in range(len(SHAPES))]
    got = clip_grad_norm([leaf(g) for g in gradients] if tensors else gradients, limit, norm_type)
    assert type(got) is float
    assert got == pytest.approx(float(reference[f"{dtype}_norm_{norm_type}"]), rel=tolerance)
    for i, g in enumerate(gradients):
        assert g.dtype == dtype
        np.testing.assert_allclose(g, reference[f"{dtype}_{name}_{norm_type}_{i}"], rtol=tolerance, atol=0)


@PRECISIONS
def test_clipped_values_are_those_of_pytorch(reference, dtype, tolerance) -> None:
    gradients = [reference[f"{dtype}_{i}"].copy() for i in range(len(SHAPES))]
    assert clip_grad_value([leaf(g) for g in gradients], CLIP_VALUE) is None
    for i, g in enumerate(gradients):
        np.testing.assert_array_equal(g, reference[f"{dtype}_value_{i}"])


@PRECISIONS
def test_optax_differs_by_the_1e_6_only(reference, dtype, tolerance) -> None:
    gradients = [reference[f"{dtype}_{i}"].copy() for i in range(len(SHAPES))]
    norm = clip_grad_norm(gradients, MAX_NORM)
    for i, g in enumerate(gradients):
        np.testing.assert_allclose(g * ((norm + 1e-6) / norm), reference[f"{dtype}_optax_{i}"], rtol=tolerance)


@pytest.mark.parametrize(("name", "bad"), [("inf", inf), ("nan", nan)])
def test_what_is_not_finite_becomes_what_it_becomes_in_pytorch(reference, name, bad) -> None:
    g = np.array([1.0, -2.0, bad])
    with np.errstate(invalid="ignore"):
        got = clip_grad_norm(g, 1.0)
    np.testing.assert_array_equal(got, reference[f"{name}_norm"])
    np.testing.assert_array_equal(g, reference[f"{name}_clipped"])
    np.testing.assert_array_equal(g, reference[f"{name}_optax"])


# ---- the rule ----


def test_three_four_zero() -> None:
    p = leaf([3.0, 4.0, 0.0])
    assert clip_grad_norm([p], 1.0) == 5.0
    np.testing.assert_allclose(p.grad, np.array([3.0, 4.0, 0.0]) / (5 + 1e-6), rtol=1e-15)


def test_one_factor_for_all_tensors() -> None:
    pair = [leaf([1.0, 0.0]), leaf([0.0, 1.0])]
    assert clip_grad_norm(pair, 1.0) == pytest.approx(sqrt(2), rel=1e-15)
    assert pair[0].grad[0] == pair[1].grad[1] == pytest.approx(1 / (sqrt(2) + 1e-6), rel=1e-15)


@pytest.mark.parametrize("limit", [5.1, 100.0, inf, 5.0 + 2e-6])
def test_a_gradient_that_is_short_enough_keeps_every_bit(limit) -> None:
    g = np.array([3.0, 4.0, -0.0])
    assert clip_grad_norm(g, limit) == 5.0
    assert g.tobytes() == np.array([3.0, 4.0, -0.0]).tobytes()


def test_the_threshold_zero_clears_the_gradient() -> None:
    g = np.array([3.0, -4.0])
    assert clip_grad_norm(g, 0.0) == 5.0
    np.testing.assert_array_equal(g, [0.0, 0.0])


SPLITS = [[(5,)], [(2, 3), (4,)], [(3, 1, 2), (), (1,)], [(BLOCK + 3,)], [(2, BLOCK // 2 + 1), (7,)]]


@pytest.mark.parametrize("norm_type", [0.5, 1, 1.5, 2, 3, 7.0, inf])
@pytest.mark.parametrize("shapes", SPLITS)
def test_norms_of_many_shapes(norm_type, shapes) -> None:
    rng = np.random.default_rng(len(shapes))
    gradients = [np.asarray(rng.normal(size=shape)) for shape in shapes]
    expected = length(*gradients, power=norm_type)
    kept = [g.copy() for g in gradients]
    assert clip_grad_norm(gradients, 0.5, norm_type) == pytest.approx(expected, rel=1e-12)
    for g, before in zip(gradients, kept, strict=True):
        np.testing.assert_allclose(g, before * (0.5 / (expected + 1e-6)), rtol=1e-12)


def test_the_direction_stays() -> None:
    g = np.random.default_rng(0).normal(size=1000) * 10.0 ** np.arange(-5, 5).repeat(100)
    before = g.copy()
    clip_grad_norm(g, 1e-3)
    assert g @ before / np.sqrt((g @ g) * (before @ before)) == pytest.approx(1, abs=1e-14)
    assert np.sqrt(g @ g) == pytest.approx(1e-3, rel=1e-6)


def test_values_are_clipped_in_place_and_the_signs_stay() -> None:
    p = leaf([0.5, -3.0, 2.0, -0.1, nan, inf, -inf])
    g = p.grad
    clip_grad_value(p, 1.0)
    assert p.grad is g
    np.testing.assert_array_equal(g, [0.5, -1.0, 1.0, -0.1, nan, 1.0, -1.0])


def test_clipping_happens_between_backward_and_step() -> None:
    x = Tensor(np.array([3.0, 4.0]), requires_grad=True)
    (x * x / 2).sum().backward()
    assert clip_grad_norm([x], 1.0) == 5.0
    np.testing.assert_allclose(x.grad, [0.6, 0.8], rtol=1e-6)
    np.testing.assert_array_equal(x.data, [3.0, 4.0])


# ---- what can be passed ----


def test_one_tensor_one_array_lists_tuples_and_generators() -> None:
    def fresh():
        return np.array([3.0, 4.0])

    for form in (leaf, lambda g: g, lambda g: [leaf(g)], lambda g: (g,), lambda g: iter([leaf(g)]),
                 lambda g: {"w": leaf(g)}.values(), lambda g: (p for p in [leaf(g), leaf(None)])):  # fmt: skip
        g = fresh()
        assert clip_grad_norm(form(g), 1.0) == 5.0
        np.testing.assert_allclose(g, [0.6, 0.8], rtol=1e-6)
        g = fresh()
        clip_grad_value(form(g), 1.0)
        np.testing.assert_array_equal(g, [1.0, 1.0])


def test_a_parameter_without_gradient_is_skipped() -> None:
    without, with_one = leaf(None), leaf([3.0, 4.0])
    assert clip_grad_norm([without, with_one], 1.0) == 5.0
    clip_grad_value([without, with_one], 0.5)
    assert without.grad is None and with_one.grad.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("norm_type", [0.5, 1.0, 2.0, inf])
@pytest.mark.parametrize(
    "nothing", [[], (), iter([]), [leaf(None)], leaf(None), np.zeros((0, 3)), [np.zeros(0), np.zeros((2, 0))]]
)
def test_without_gradients_the_norm_is_zero(norm_type, nothing) -> None:
    got = clip_grad_norm(nothing, 1.0, norm_type, error_if_nonfinite=True)
    assert type(got) is float and got == 0.0
    clip_grad_value(nothing, 1.0)


def test_total_norm_of_nothing_is_zero() -> None:
    assert total_norm([]) == total_norm([], 1.0) == total_norm([], inf) == 0.0


def test_the_same_tensor_twice_counts_once(reference) -> None:
    p = leaf([3.0, 4.0])
    assert clip_grad_norm([p, p], 1.0) == 5.0
    np.testing.assert_allclose(p.grad, [0.6, 0.8], rtol=1e-6)
    g = np.array([3.0, 4.0])
    assert clip_grad_norm([g, g, g], 1.0) == 5.0
    assert reference["twice_norm"] == pytest.approx(sqrt(50))  # PyTorch counts it twice


def test_two_tensors_may_share_one_gradient_array() -> None:
    g = np.array([3.0, 4.0])
    first, second = leaf(g), leaf(g)
    first.grad = second.grad = g
    assert clip_grad_norm([first, second], 1.0) == 5.0
    np.testing.assert_allclose(g, [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, inf])
@pytest.mark.parametrize(
    "cut",
    [lambda b: b[:, ::2], lambda b: b.T, lambda b: b[::-1], lambda b: b[:, 1], lambda b: b.T[1:, ::3]],
)
def test_gradients_that_are_not_contiguous_are_clipped_in_place(cut, norm_type) -> None:
    base = np.random.default_rng(0).normal(size=(6, 8))
    g = cut(base)
    selected = np.zeros(base.shape, bool)
    cut(selected)[...] = True
    before, expected = base.copy(), length(g, power=norm_type)
    assert clip_grad_norm([g], 0.1, norm_type) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(base[selected], before[selected] * (0.1 / (expected + 1e-6)), rtol=1e-12)
    np.testing.assert_array_equal(base[~selected], before[~selected])
    clip_grad_value([g], 0.01)
    assert np.abs(base[selected]).max() <= 0.01
    np.testing.assert_array_equal(base[~selected], before[~selected])


def test_arrays_of_no_dimension() -> None:
    p = leaf(-5.0)
    assert clip_grad_norm([p], 1.0) == 5.0 and p.grad.shape == ()
    assert float(p.grad) == pytest.approx(-1, rel=1e-6)
    clip_grad_value(p, 0.5)
    assert float(p.grad) == -0.5


def test_empty_arrays_beside_others() -> None:
    for norm_type, expected in ((1.0, 7.0), (2.0, 5.0), (inf, 4.0)):
        gradients = [np.zeros((0, 3)), np.array([3.0, 4.0]), np.zeros(0, np.float32)]
        assert clip_grad_norm(gradients, 1.0, norm_type) == expected
        np.testing.assert_allclose(gradients[1], np.array([3.0, 4.0]) / expected, rtol=1e-6)


def test_mixed_precisions_have_one_norm_and_keep_their_types() -> None:
    gradients = [np.array([3.0], np.float16), np.array([4.0], np.float32), np.array([12.0])]
    assert clip_grad_norm(gradients, 1.0) == 13.0
    assert [g.dtype for g in gradients] == [np.float16, np.float32, np.float64]
    assert length(*gradients) == pytest.approx(1, rel=1e-3)


# ---- precision and range ----


def test_ten_million_float32_ones() -> None:
    g = np.ones(10_000_000, np.float32)
    assert clip_grad_norm(g, inf) == pytest.approx(sqrt(1e7), rel=1e-6)
    assert clip_grad_norm(g, inf, 1.0) == pytest.approx(1e7, rel=1e-6)
    assert clip_grad_norm(g, inf, 3.0) == pytest.approx(1e7 ** (1 / 3), rel=1e-6)
    assert clip_grad_norm(g.reshape(1000, 10_000).T, inf) == pytest.approx(sqrt(1e7), rel=1e-6)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-3])
def test_ten_million_equal_numbers(value) -> None:
    g = np.full(10_000_000, value, np.float32)
    assert clip_grad_norm(g, inf) == pytest.approx(float(np.float32(value)) * sqrt(1e7), rel=1e-6)


def test_many_small_tensors() -> None:
    gradients = [np.full(3, 0.1, np.float32) for _ in range(10_000)]
    assert clip_grad_norm(gradients, inf) == pytest.approx(float(np.float32(0.1)) * sqrt(3e4), rel=1e-6)


@pytest.mark.parametrize("value", [1e30, 3e38, 1e20, 1e-20, 1e-30, 1e-38])
@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, inf])
def test_float32_near_the_ends_of_its_range_without_a_warning(value, norm_type) -> None:
    g = np.array([value, -value, value, 0.0], np.float32)
    expected = length(g, power=norm_type)
    assert clip_grad_norm(g, 1.0, norm_type) == pytest.approx(expected, rel=1e-6)
    assert length(g, power=norm_type) == pytest.approx(min(1.0, expected), rel=1e-5)


def test_a_tiny_gradient_beside_a_huge_one() -> None:
    gradients = [np.array([1e30], np.float32), np.array([1e-30], np.float32)]
    assert clip_grad_norm(gradients, inf) == pytest.approx(1e30, rel=1e-6)


@pytest.mark.parametrize("value", [1e150, 1e-140])
def test_float64_far_from_one(value) -> None:
    g = np.array([3 * value, 4 * value])
    assert clip_grad_norm(g, inf) == pytest.approx(5 * value, rel=1e-12)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, inf])
def test_float16(norm_type) -> None:
    g = np.full((50, 40), 300.0, np.float16)  # the sum of squares is 1.8e8, and float16 ends at 65504
    expected = length(g, power=norm_type)
    assert clip_grad_norm(g, 100.0, norm_type) == pytest.approx(expected, rel=1e-6)
    assert g.dtype == np.float16
    assert length(g, power=norm_type) == pytest.approx(100.0, rel=2e-3)
    clip_grad_value(g, 0.01)
    assert g.max() == np.float16(0.01)


def test_rounding_does_not_make_the_norm_depend_on_the_split() -> None:
    whole = np.random.default_rng(0).normal(size=3 * BLOCK + 5).astype(np.float32)
    parts = np.split(whole.copy(), [1, 1000, BLOCK, BLOCK + 1, 2 * BLOCK + 77])
    assert clip_grad_norm(whole.copy(), inf) == pytest.approx(clip_grad_norm(parts, inf), rel=1e-6)


# ---- not finite ----


@pytest.mark.parametrize("norm_type", [1.0, 2.0, inf])
@pytest.mark.parametrize("bad", [inf, -inf, nan])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_norm_that_is_not_finite(norm_type, bad, dtype) -> None:
    first, second = np.array([1.0, 2.0], dtype), np.array([bad, 3.0], dtype)
    kept = first.copy(), second.copy()
    with pytest.raises(RuntimeError, match=r"^clip_grad_norm: the norm .* is (inf|nan); nothing was changed"):
        clip_grad_norm([leaf(first), leaf(second)], 1.0, norm_type, error_if_nonfinite=True)
    np.testing.assert_array_equal([first, second], kept)

    got = clip_grad_norm([first, second], inf, norm_type)  # measures only
    np.testing.assert_array_equal([first, second], kept)
    assert isnan(got) if isnan(bad) else got == inf

    with np.errstate(invalid="ignore"):
        clip_grad_norm([first, second], 1.0, norm_type)
    assert isnan(second[0])
    np.testing.assert_array_equal(first, [nan, nan] if isnan(bad) else [0.0, 0.0])


def test_a_nan_in_the_second_tensor_is_not_passed_over() -> None:
    for norm_type in (0.5, 1.0, 2.0, 3.0, inf):
        assert isnan(clip_grad_norm([np.ones(2), np.array([nan]), np.ones(3)], inf, norm_type))


def test_finite_gradients_pass_with_error_if_nonfinite() -> None:
    g = np.array([3.0, 4.0])
    assert clip_grad_norm(g, 1.0, error_if_nonfinite=True) == 5.0
    np.testing.assert_allclose(g, [0.6, 0.8], rtol=1e-6)


# ---- refused ----


@pytest.mark.parametrize("value", [-1, -1e-9, nan, -inf])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda g, value: clip_grad_norm(g, value), "clip_grad_norm: expected max_norm"),
        (lambda g, value: clip_grad_norm(g, 1.0, value), "clip_grad_norm: expected norm_type"),
        (lambda g, value: clip_grad_value(g, value), "clip_grad_value: expected clip_value"),
    ],
)
def test_numbers_out_of_range_are_refused(value, call, name) -> None:
    g = np.array([3.0, 4.0])
    with pytest.raises(ValueError, match=name):
        call(g, value)
    assert g.tolist() == [3.0, 4.0]


def test_a_norm_of_power_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected norm_type to be above 0, got 0"):
        clip_grad_norm(np.ones(2), 1.0, 0)


@pytest.mark.parametrize("value", ["1", True, None, [1.0], 1j])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda g, value: clip_grad_norm(g, value), "clip_grad_norm: expected max_norm"),
        (lambda g, value: clip_grad_norm(g, 1.0, value), "clip_grad_norm: expected norm_type"),
        (lambda g, value: clip_grad_value(g, value), "clip_grad_value: expected clip_value"),
    ],
)
def test_what_is_no_number_is_refused(value, call, name) -> None:
    g = np.array([3.0, 4.0])
    with pytest.raises(TypeError, match=name):
        call(g, value)
    assert g.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("value", [1, np.float32(1), np.float64(1), np.int64(1), np.array(1.0)])
def test_numbers_of_any_kind_are_taken(value) -> None:
    g = np.array([3.0, 4.0])
    clip_grad_norm(g, value)
    np.testing.assert_allclose(g, [0.6, 0.8], rtol=1e-6)
    clip_grad_value(g, value)


@pytest.mark.parametrize("clip", [clip_grad_norm, clip_grad_value])
def test_a_read_only_gradient_is_refused_and_nothing_changed(clip) -> None:
    first, second = np.array([3.0, 4.0]), np.array([[5.0]])
    second.flags.writeable = False
    words = rf"^{clip.__name__}: the gradient at 1, of shape \(1, 1\), is read-only; copy it first"
    with pytest.raises(ValueError, match=words):
        clip([leaf(first), second], 1.0)
    assert first.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("clip", [clip_grad_norm, clip_grad_value])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (3.0, "expected Tensors or arrays, got float; put them into a list"),
        (None, "expected Tensors or arrays, got NoneType"),
        ([np.ones(2), 1.0], "expected a Tensor or an array of floats at 1, got float"),
        ([[1.0, 2.0]], "at 0, got list"),
        ("ab", "at 0, got str"),
        ({"w": np.ones(2)}, "at 0, got str"),
        ([np.ones(2), np.array([1, 2])], r"at 1, got an array of int\d+"),
        (np.ones(2, bool), "at 0, got an array of bool"),
        (np.ones(2, complex), "at 0, got an array of complex128"),
    ],
)
def test_wrong_types_are_refused_and_nothing_changed(clip, wrong, words) -> None:
    with pytest.raises(TypeError, match=rf"^{clip.__name__}: .*{words}"):
        clip(wrong, 0.1)
    if isinstance(wrong, list) and isinstance(wrong[0], np.ndarray):
        np.testing.assert_array_equal(wrong[0], [1.0, 1.0])


def test_extreme_numbers_and_half_precision() -> None:
    gradient = np.full(10_000, 60_000, np.float16)
    clip_grad_norm([gradient], 1.0)
    assert abs(np.linalg.norm(gradient.astype(np.float64)) - 1) < 2e-3
    for size in (1e30, 1e-30):
        assert np.isclose(total_norm([np.full(4, size, np.float32)], 20.0), size * 4 ** (1 / 20))
    assert total_norm([np.full(9, 2.0)], 1e-3) == np.inf
    limits = np.array([1.0, -np.inf], np.float16)
    clip_grad_value([limits], 1e6)
    assert limits.tolist() == [1.0, -65504.0]
    endless = np.array([np.inf, 1.0], np.float32)
    clip_grad_norm([endless], 1.0)  # no warning
    assert np.isnan(endless[0]) and endless[1] == 0

"""Every primitive: against central differences, against PyTorch, in every dtype and memory layout, at its kinks."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from odyssey import Tensor, gradcheck, no_grad, ops
from odyssey.autograd import PRIMITIVES, primitive
from tests import needs
from tests.autograd.cases import CASES, KINKS, Case, primitives_of

REFERENCE = np.load(Path(__file__).parents[1] / "reference" / "autograd.npz")
EVERY = [*CASES, *KINKS]


def each(cases: list[Case]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case.id for case in cases])


def without_cases() -> set[str]:
    return primitives_of("odyssey.autograd").keys() - {case.name for case in CASES}


def backward(case: Case, inputs: list[np.ndarray], needs: Any = None) -> tuple[Tensor, list[Tensor]]:
    """The result of a case, and its inputs as leaves after a backward of the weighted result."""
    leaves = [Tensor(a, requires_grad=needs is None or k in needs) for k, a in enumerate(inputs)]
    with np.errstate(all="ignore"):
        out = case.run(*leaves)
        out.backward(case.weights(out.shape).astype(out.dtype))
    return out, leaves


def gradients(f: Any, *arrays: Any, grad: Any = None) -> list[Any]:
    leaves = [Tensor(a, requires_grad=True) for a in arrays]
    f(*leaves).backward(grad)
    return [leaf.grad for leaf in leaves]


def test_every_primitive_has_cases() -> None:
    assert not without_cases()


def test_a_primitive_without_a_case_is_noticed() -> None:
    @primitive()
    def nothing_tests_me(x: Any) -> Any:
        """x."""
        return x, lambda g: (g,)

    try:
        assert not without_cases()  # a test defined it, not odyssey.autograd
        nothing_tests_me.__module__ = "odyssey.autograd.primitives"
        assert without_cases() == {"nothing_tests_me"}
    finally:
        del PRIMITIVES["nothing_tests_me"]


def test_every_case_calls_the_primitive_that_it_names() -> None:
    for case in EVERY:
        with np.errstate(all="ignore"):
            out = case.run(*(Tensor(a, requires_grad=True) for a in case.inputs()))
        assert case.name in [row.op for row in out.tape()], case.id


def test_every_primitive_is_in_ops_and_documented() -> None:
    for name, operation in primitives_of("odyssey.autograd").items():
        assert getattr(ops, name) is operation and name in ops.__all__
        assert operation.__name__ == name and len(operation.__doc__) > 10
    assert set(ops.__all__) == {*primitives_of("odyssey.autograd"), "split"}


@each(CASES)
def test_gradient_is_the_slope(case: Case) -> None:
    assert gradcheck(case.run, *case.inputs())


@each(EVERY)
def test_pytorch_agrees(case: Case) -> None:
    k = list(REFERENCE["ids"]).index(case.id)
    start, end = [0, *REFERENCE["ends"]][k : k + 2]
    out, leaves = backward(case, case.inputs())
    assert "x".join(map(str, out.shape)) == REFERENCE["shapes"][k]
    arrays = [*case.inputs(), case.weights(out.shape), out.data, *(leaf.grad for leaf in leaves)]
    ours = np.concatenate([np.ravel(a) for a in arrays])
    np.testing.assert_allclose(ours, REFERENCE["values"][start:end], rtol=1e-10, atol=1e-14)


def test_reference_has_nothing_else() -> None:
    assert list(REFERENCE["ids"]) == [case.id for case in EVERY]


@each(EVERY)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_dtype_stays(case: Case, dtype: Any) -> None:
    if "np.ones" in case.ours:
        pytest.skip("an array of float64 takes part")
    exact, exact_leaves = backward(case, [a.astype(dtype).astype(np.float64) for a in case.inputs()])
    out, leaves = backward(case, [a.astype(dtype) for a in case.inputs()])
    assert out.dtype == dtype or "np.array([-0.25" in case.ours
    tolerance = 5e-6 if dtype == np.float32 else 2e-2
    np.testing.assert_allclose(out.data, exact.data, rtol=tolerance, atol=tolerance)
    for leaf, other in zip(leaves, exact_leaves, strict=True):
        assert leaf.grad.dtype == dtype
        np.testing.assert_allclose(leaf.grad, other.grad, rtol=4 * tolerance, atol=8 * tolerance)


@each([case for case in EVERY if len(case.specs) > 1])
def test_mixed_dtypes_give_each_input_a_gradient_of_its_own(case: Case) -> None:
    first, *others = case.inputs()
    out, leaves = backward(case, [first.astype(np.float32), *others])
    assert out.dtype == np.float64
    assert [leaf.grad.dtype for leaf in leaves] == [np.float32] + [np.float64] * len(others)


def layouts(array: np.ndarray) -> list[np.ndarray]:
    """The numbers of `array` in other memory layouts, read-only."""
    spread = np.zeros([2 * n for n in array.shape])[tuple(slice(None, None, 2) for _ in array.shape)]
    spread[...] = array
    backwards = np.flip(np.flip(array).copy())
    views = [np.asfortranarray(array), spread, backwards, np.swapaxes(np.swapaxes(array, 0, -1).copy(), 0, -1)]
    for view in views:
        view.flags.writeable = False
    return views


@each(EVERY)
def test_memory_layout_does_not_matter(case: Case) -> None:
    inputs = case.inputs()
    out, leaves = backward(case, inputs)
    for k in range(4):
        other, other_leaves = backward(case, [layouts(a)[k] if a.ndim else a for a in inputs])
        np.testing.assert_allclose(other.data, out.data, rtol=1e-12, atol=1e-14)
        for one, two in zip(leaves, other_leaves, strict=True):
            np.testing.assert_allclose(two.grad, one.grad, rtol=1e-12, atol=1e-14)


@each(EVERY)
def test_repeated_memory_does_not_matter(case: Case) -> None:
    inputs = [np.broadcast_to(a[:1], a.shape) if a.ndim else a for a in case.inputs()]
    out, leaves = backward(case, inputs)
    other, other_leaves = backward(case, [a.copy() for a in inputs])
    np.testing.assert_allclose(other.data, out.data, rtol=1e-12, atol=1e-14)
    for one, two in zip(leaves, other_leaves, strict=True):
        np.testing.assert_allclose(one.grad, two.grad, rtol=1e-12, atol=1e-14)


@each(EVERY)
def test_gradients_own_their_memory(case: Case) -> None:
    inputs = case.inputs()
    before = [a.copy() for a in inputs]
    leaves = [Tensor(a, requires_grad=True) for a in inputs]
    with np.errstate(all="ignore"):
        out = case.run(*leaves)
        g = np.ones(out.shape)
        out.backward(g)
    for leaf in leaves:
        assert leaf.grad.flags.writeable
        leaf.grad[...] = 77.0
        others = [other for other in leaves if other is not leaf]
        assert not any(np.shares_memory(leaf.grad, other.grad) for other in others)
    assert (g == 1).all()
    for a, b in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(a, b)


@each([case for case in EVERY if len(case.specs) > 1])
def test_each_input_alone(case: Case) -> None:
    _, together = backward(case, case.inputs())
    for k in range(len(case.specs)):
        _, leaves = backward(case, case.inputs(), needs=[k])
        assert [leaf.grad is None for leaf in leaves] == [i != k for i in range(len(leaves))]
        np.testing.assert_array_equal(leaves[k].grad, together[k].grad)


@each(EVERY)
def test_same_result_without_a_tape(case: Case) -> None:
    out, _ = backward(case, case.inputs())
    with no_grad(), np.errstate(all="ignore"):
        silent = case.run(*(Tensor(a, requires_grad=True) for a in case.inputs()))
        half = case.run(*(Tensor(a.astype(np.float32), requires_grad=True) for a in case.inputs()))
    with np.errstate(all="ignore"):
        constant = case.run(*(Tensor(a) for a in case.inputs()))
    assert not silent.requires_grad and not constant.requires_grad
    np.testing.assert_array_equal(silent.data, out.data)
    np.testing.assert_array_equal(constant.data, out.data)
    assert half.dtype == np.float32 or "np.ones" in case.ours or "np.array([-0.25" in case.ours


# Empty arrays.


@pytest.mark.parametrize("function", [ops.sum, ops.prod, ops.cumsum])
@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint32])
def test_integers_are_added_in_64_bits_on_every_machine(function: Any, dtype: Any) -> None:
    wide = np.uint64 if np.dtype(dtype).kind == "u" else np.int64
    assert function(Tensor(np.ones(300, dtype))).dtype == wide
    if dtype is np.int32:
        assert ops.sum(Tensor(np.full(4, 2**31 - 1, dtype))).item() == 4 * (2**31 - 1)


@pytest.mark.parametrize(
    ("expression", "shapes"),
    [
        *[
            (f"{op}(x)", [(0, 3)])
            for op in "np.exp np.log np.abs ops.relu ops.sigmoid np.sum np.prod np.cumsum".split()
        ],
        *[(f"np.{op}(x, axis=1)", [(0, 3)]) for op in "sum mean var max min prod cumsum".split()],
        *[(f"np.{op}(x, axis=0)", [(0, 3)]) for op in "sum prod cumsum".split()],
        *[(f"np.{op}(x, axis=0, keepdims=True)", [(3, 0)]) for op in "sum mean var max min prod".split()],
        ("ops.logsumexp(x, axis=1)", [(0, 3)]),
        ("x + y", [(0, 3), (1, 3)]),
        ("x * y", [(0, 3), (3,)]),
        ("x / y", [(0, 1), (1, 3)]),
        ("x ** y", [(0, 3), ()]),
        ("np.maximum(x, y)", [(0, 3), (3,)]),
        ("np.where(np.zeros((0, 3), dtype=bool), x, y)", [(0, 3), ()]),
        ("x @ y", [(0, 3), (3, 2)]),
        ("x @ y", [(2, 0), (0, 3)]),
        ("x @ y", [(4, 2, 0), (0, 3)]),
        ("x @ y", [(0, 2, 3), (3, 4)]),
        ("x @ y", [(0, 2, 3), (0, 3, 4)]),
        ("x @ y", [(2, 3), (0, 3, 4)]),
        ("x @ y", [(0,), (0,)]),
        ("np.dot(x, y)", [(2, 0), (0, 3)]),
        ("np.dot(x, y)", [(0, 3), (3, 0)]),
        ("np.outer(x, y)", [(0,), (3,)]),
        ("np.einsum('ij,jk->ik', x, y)", [(2, 0), (0, 3)]),
        ("np.einsum('ij->j', x)", [(0, 3)]),
        ("np.einsum('ij,ij->', x, y)", [(1, 3), (0, 3)]),
        ("np.reshape(x, (3, 0))", [(0, 3)]),
        ("x.T", [(0, 3)]),
        ("np.concatenate([x, y])", [(0, 3), (2, 3)]),
        ("np.stack([x, y])", [(0, 3), (0, 3)]),
        ("np.pad(x, 1)", [(0, 3)]),
        ("np.flip(x)", [(0, 3)]),
        ("np.broadcast_to(x, (0, 3))", [(1, 3)]),
        ("x[0:0]", [(2, 3)]),
        ("x[[]]", [(2, 3)]),
        ("np.take(x, np.array([], dtype=int), axis=0)", [(2, 3)]),
    ],
)
def test_empty_arrays(expression: str, shapes: list[tuple[int, ...]]) -> None:
    arrays = [np.ones(shape) for shape in shapes]
    leaves = [Tensor(a, requires_grad=True) for a in arrays]
    out = eval(expression, {"np": np, "ops": ops, **dict(zip("xy", leaves, strict=False))})
    plain = eval(expression, {"np": np, "ops": ops, **dict(zip("xy", arrays, strict=False))})
    assert out.shape == plain.shape
    out.backward(np.ones(out.shape))
    for leaf in leaves:
        assert leaf.grad.shape == leaf.shape
        # Nothing of an empty result can move it; a summand of an empty sum is not there at all.
        assert (leaf.grad == (1 if "concat" in expression else 0)).all() or "pad" in expression


# Properties that hold for all shapes and axes.

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
FULL_SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, max_side=4)
SEEDS = st.integers(0, 2**32 - 1)


def normal(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4, min_side=0), SEEDS)
def test_broadcasting_adds_up(shapes: Any, seed: int) -> None:
    a, b = (normal(shape, seed + k) for k, shape in enumerate(shapes.input_shapes))
    g = normal(shapes.result_shape, seed + 2)
    da, db = gradients(lambda x, y: x * y, a, b, grad=g)
    # The definition: broadcast by hand, then sum over every element that reads the same number.
    for grad, own, other in [(da, a, b), (db, b, a)]:
        where = np.broadcast_to(np.arange(own.size).reshape(own.shape), shapes.result_shape)
        expected = np.bincount(where.ravel(), (g * other).ravel(), own.size).reshape(own.shape)
        np.testing.assert_allclose(grad, expected, atol=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), FULL_SHAPES, SEEDS, st.booleans())
def test_reductions_over_any_axes(data: Any, shape: tuple[int, ...], seed: int, keepdims: bool) -> None:
    x = normal(shape, seed)
    axes = data.draw(hnp.valid_tuple_axes(len(shape), max_size=len(shape)) | st.none())
    name = data.draw(st.sampled_from(["sum", "mean", "var", "max", "min", "prod", "logsumexp"]))
    if axes == () and name in ("max", "min", "logsumexp"):
        axes = None
    leaf = Tensor(x, requires_grad=True)
    out = PRIMITIVES[name](leaf, axis=axes, keepdims=keepdims)
    expected = (
        getattr(np, name)(x, axis=axes, keepdims=keepdims)
        if name != "logsumexp"
        else np.log(np.sum(np.exp(x), axis=axes, keepdims=keepdims))
    )
    np.testing.assert_allclose(out.data, expected, rtol=1e-10, atol=1e-12)
    assert out.shape == expected.shape
    direction = normal(shape, seed + 1)
    g = normal(out.shape, seed + 2)
    out.backward(g)
    with no_grad():
        up, down = (PRIMITIVES[name](x + h * direction, axis=axes, keepdims=keepdims) for h in (1e-6, -1e-6))
    slope = np.sum(g * (up - down).data) / 2e-6
    np.testing.assert_allclose(np.sum(leaf.grad * direction), slope, rtol=1e-4, atol=1e-6)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(hnp.mutually_broadcastable_shapes(signature="(m?,n),(n,p?)->(m?,p?)", max_dims=2, max_side=3), SEEDS)
def test_matmul_of_any_shapes(shapes: Any, seed: int) -> None:
    a, b = (normal(shape, seed + k) for k, shape in enumerate(shapes.input_shapes))
    g = normal(np.matmul(a, b).shape, seed + 2)
    da, db = gradients(lambda x, y: x @ y, a, b, grad=g)
    # Bilinear: <g, da_direction @ b> = <da, direction> exactly, and the same for b.
    for grad, value, product in [(da, a, lambda d: d @ b), (db, b, lambda d: a @ d)]:
        d = normal(value.shape, seed + 3)
        np.testing.assert_allclose(np.sum(grad * d), np.sum(g * product(d)), atol=1e-10)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.data(), SEEDS)
def test_einsum_of_any_letters(data: Any, seed: int) -> None:
    letters = "aBcD"
    sizes = dict(zip(letters, data.draw(st.lists(st.integers(1, 3), min_size=4, max_size=4)), strict=True))
    terms = data.draw(st.lists(st.text(letters, max_size=4), min_size=1, max_size=3))
    used = sorted(set("".join(terms)))
    arrow = data.draw(st.booleans())
    output = (
        "".join(data.draw(st.permutations(data.draw(st.lists(st.sampled_from(used), unique=True))))) if used else ""
    )
    dots = data.draw(st.booleans())
    left = ",".join(("..." if dots else "") + term for term in terms)
    subscripts = left + (("->" + ("..." if dots else "") + output) if arrow else "")
    extra = (2,) if dots else ()
    # A letter that stands once in its term may have length 1 there and be broadcast.
    shapes = [
        extra + tuple(1 if term.count(c) == 1 and data.draw(st.integers(0, 4)) == 0 else sizes[c] for c in term)
        for term in terms
    ]
    arrays = [normal(shape, seed + k) for k, shape in enumerate(shapes)]
    expected = np.einsum(subscripts, *arrays)
    leaves = [Tensor(a, requires_grad=True) for a in arrays]
    out = ops.einsum(subscripts, *leaves)
    np.testing.assert_allclose(out.data, expected, atol=1e-10)
    g = normal(out.shape, seed + 8)
    out.backward(g)
    for k, leaf in enumerate(leaves):  # linear in each operand
        d = normal(leaf.shape, seed + 9 + k)
        moved = np.einsum(subscripts, *arrays[:k], d, *arrays[k + 1 :])
        np.testing.assert_allclose(np.sum(leaf.grad * d), np.sum(g * moved), rtol=1e-9, atol=1e-9)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.data(), FULL_SHAPES, SEEDS)
def test_getitem_of_any_index(data: Any, shape: tuple[int, ...], seed: int) -> None:
    basic = hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True)
    integers = hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3))
    masks = hnp.arrays(bool, shape)
    index = data.draw(basic | integers | masks)
    x = normal(shape, seed)
    leaf = Tensor(x, requires_grad=True)
    out = leaf[index]
    np.testing.assert_array_equal(out.data, x[index])
    g = normal(out.shape, seed + 1)
    out.backward(g)
    picked = np.asarray(np.arange(x.size).reshape(shape)[index])
    expected = np.bincount(picked.ravel(), g.ravel(), x.size).reshape(shape)
    np.testing.assert_allclose(leaf.grad, expected, atol=1e-12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data(), FULL_SHAPES, SEEDS)
def test_moving_operations_are_orthogonal(data: Any, shape: tuple[int, ...], seed: int) -> None:
    """What only moves numbers has its own inverse as gradient: sum(grad * x) = sum(g * out)."""
    n = len(shape)
    axis, other = (data.draw(st.integers(-n, n - 1)) for _ in range(2))
    order = data.draw(st.permutations(range(n)))
    signed = tuple(i - n if data.draw(st.booleans()) else i for i in order)
    x = normal(shape, seed)
    for f in [
        lambda a: np.transpose(a, signed),
        lambda a: np.swapaxes(a, axis, other),
        lambda a: np.moveaxis(a, axis, other),
        lambda a: np.moveaxis(a, signed, tuple(range(n))),
        lambda a: np.flip(a, axis),
        lambda a: np.expand_dims(a, axis),
        lambda a: np.squeeze(a),
        lambda a: np.reshape(a, (-1, shape[axis])),
        lambda a: np.concatenate([a, a[::-1]], axis=axis),
        lambda a: np.stack([a, a], axis=other),
        lambda a: np.pad(a, [(1, 2)] * n),
        lambda a: np.concatenate(np.split(a, [1, 2, 5], axis=axis), axis=axis),
    ]:
        leaf = Tensor(x, requires_grad=True)
        out = f(leaf)
        np.testing.assert_array_equal(out.data, f(x))
        g = normal(out.shape, seed + 1)
        out.backward(g)
        assert leaf.grad.shape == shape
        np.testing.assert_allclose(np.sum(leaf.grad * x), np.sum(g * out.data), rtol=1e-9, atol=1e-9)


# Conventions at kinks and at the ends of the number line. KINKS compares more of them with PyTorch.


def test_ties_share_equally() -> None:
    assert gradients(lambda x: np.max(x), [2.0, 1.0, 2.0, 2.0])[0].tolist() == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3])
    assert gradients(lambda x: np.min(x), [2.0, 1.0, 1.0])[0].tolist() == [0, 0.5, 0.5]
    dx, dy = gradients(lambda x, y: np.maximum(x, y), [1.0], [1.0])
    assert dx == dy == 0.5
    assert gradients(lambda x: np.clip(x, -1, 1), [-1.0, 1.0, 1.5], grad=[3, 4, 5])[0].tolist() == [3, 4, 0]


def test_many_ties_in_float16() -> None:
    (grad,) = gradients(lambda x: np.max(x), np.ones(70_000, np.float16), grad=np.float16(1000))
    np.testing.assert_allclose(grad.astype(float), 1000 / 70_000, rtol=1e-3)


def test_mean_and_variance_of_many_in_float16() -> None:
    x = np.tile(np.array([1.0, 3.0], np.float16), 35_000)
    leaf = Tensor(x, requires_grad=True)
    leaf.mean().backward(np.float16(1000))
    np.testing.assert_allclose(leaf.grad.astype(float), 1000 / 70_000, rtol=5e-3)
    variance = leaf.var()
    assert variance.dtype == np.float16 and variance.item() == pytest.approx(1.0, rel=1e-3)


def test_powers_of_zero() -> None:
    x, y = np.array([0.0, 0.0, 0.0]), np.array([0.0, 1.0, 2.0])
    dx, dy = gradients(lambda a, b: a**b, x, y, grad=np.ones(3))
    assert dx.tolist() == [0, 1, 0] and dy.tolist() == [0, 0, 0]
    (dx,) = gradients(lambda a: a**-2, np.array([-2.0]))
    assert dx == pytest.approx(0.25)


@pytest.mark.parametrize("exponent", [2, 3, 2.0, np.float64(2), np.float32(3), np.int64(2)])
def test_power_by_a_number_keeps_float32(exponent: Any) -> None:
    x = Tensor(np.array([1.5, -2.0], np.float32), requires_grad=True)
    out = x**exponent
    assert out.dtype == np.float32
    out.backward([1, 1])
    np.testing.assert_allclose(x.grad, exponent * x.data ** (exponent - 1), rtol=1e-6)


@pytest.mark.parametrize("exponent", [np.array(2), np.array(2.0), np.array(3), Tensor(2), Tensor(np.array(3.0))])
def test_power_by_an_array_without_axes(exponent: Any) -> None:
    x = Tensor(np.array([1.5, -2.0], np.float32), requires_grad=True)
    out = x**exponent
    assert out.dtype == np.float64  # as in NumPy: an array has a dtype of its own
    out.backward([1, 1])
    n = float(exponent.data if isinstance(exponent, Tensor) else exponent)
    np.testing.assert_allclose(x.grad, n * x.data ** (n - 1), rtol=1e-6)
    assert x.grad.dtype == np.float32


def test_product_with_zeros() -> None:
    assert gradients(np.prod, [0.0, 2.0, 3.0])[0].tolist() == [6, 0, 0]
    assert gradients(np.prod, [0.0, 2.0, 0.0])[0].tolist() == [0, 0, 0]


def test_logsumexp_at_the_ends_of_the_number_line() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = np.array([[-np.inf, -np.inf], [-np.inf, 1.0], [3e38, 3e38], [-3e38, -3e38]], np.float32)
        leaf = Tensor(rows, requires_grad=True)
        out = ops.logsumexp(leaf, axis=1)
        out.backward(np.ones(4))
        assert ops.logsumexp(Tensor([np.inf, -np.inf])).item() == np.inf
    assert out.data.tolist()[:2] == [-np.inf, 1.0] and np.isfinite(out.data[2:]).all()
    assert leaf.grad[:2].tolist() == [[0, 0], [0, 1]]
    # Far out float32 has no room for log 2, and out = x. The gradient must be the softmax all the same.
    np.testing.assert_allclose(leaf.grad[2:], 0.5)


def test_the_gradient_of_logsumexp_sums_to_one_for_large_inputs() -> None:
    for size in (1e4, 1e6, 3e6):  # exp(x - out) gave 0.9998, 1.0008 and 1.065 in float32
        leaf = Tensor(np.array([size, size + 1], np.float32), requires_grad=True)
        ops.logsumexp(leaf).backward()
        np.testing.assert_allclose(leaf.grad.sum(), 1.0, rtol=1e-6)
        np.testing.assert_allclose(leaf.grad, [0.26894143, 0.7310586], rtol=1e-6)


def test_sigmoid_is_right_far_from_zero() -> None:
    x = np.array([-100.0, -80.0, -20.0, -1.0, 0.0, 1.0, 20.0, 100.0], np.float32)
    leaf = Tensor(x, requires_grad=True)
    out = ops.sigmoid(leaf)
    exact = 1 / (1 + np.exp(-x.astype(np.float64)))
    np.testing.assert_allclose(out.data[1:], exact[1:], rtol=1e-6)
    assert 0 <= out.data[0] < 1e-37
    out.backward(np.ones(8))
    np.testing.assert_allclose(leaf.grad[1:5], (exact * (1 - exact))[1:5], rtol=1e-6)


def test_variance_divides_by_n_minus_ddof() -> None:
    x = np.array([1.0, 2.0, 4.0, 9.0])
    for ddof in (0, 1, 2):
        assert Tensor(x).var(ddof=ddof).item() == pytest.approx(np.var(x, ddof=ddof))
    with pytest.raises(ValueError, match=r"var: needs more than ddof=4 elements along axis=None"):
        Tensor(x).var(ddof=4)


def test_integers_pass_through() -> None:
    x = Tensor([3, 1, 2])
    assert (x + 1).dtype == (x * x).dtype == x.sum().dtype == x.clip(min=2).dtype == x.max().dtype == np.int64
    assert x.clip(min=2).data.tolist() == [3, 2, 2]
    assert ops.where(np.array([True, False]), 1, 0).dtype == np.array(1).dtype
    assert ops.where(np.array([True, False]), 1.0, 0).dtype == np.float32
    assert (x[0:2] ** 2).data.tolist() == [9, 1]


# NumPy's functions.

X, Y, V = (np.random.default_rng(k).uniform(0.5, 2.0, shape) for k, shape in enumerate([(2, 3), (3, 2), 3]))

DISPATCHED = """
np.abs(x); np.absolute(x); np.exp(x); np.expm1(x); np.log(x); np.log1p(x); np.sqrt(x); np.square(x); np.sin(x)
np.cos(x); np.tanh(x); np.negative(x); np.add(x, v); np.subtract(v, x); np.multiply(x, 2.0); np.divide(1.0, x)
np.true_divide(x, v); np.power(x, 2); np.maximum(x, 1.0); np.minimum(v, x); np.where(v > 1, x, 0.0)
np.where(v > 1, 0.0, x); np.clip(x, 0.7, 1.5); np.clip(x, a_min=0.7, a_max=None); np.sum(x, axis=0)
np.mean(x, axis=(0, 1)); np.var(x, axis=-1, ddof=1); np.max(x, axis=1); np.min(x, keepdims=True); np.prod(x, axis=1)
np.cumsum(x, axis=1); np.reshape(x, (3, 2)); np.reshape(x, -1); np.transpose(x); np.transpose(x, (1, 0))
np.swapaxes(x, 0, 1); np.moveaxis(x, 0, 1); np.squeeze(x[:1]); np.squeeze(x[:1], axis=0); np.expand_dims(x, axis=0)
np.broadcast_to(x, (4, 2, 3)); np.concatenate([x, x]); np.concatenate((v[None], x), axis=0)
np.concatenate([x, v[None]], axis=0); np.stack([x, x], axis=1); np.stack([v, x[0]]); np.pad(x, ((0, 1), (2, 0)))
np.pad(x, 1, mode="constant", constant_values=2.0); np.flip(x); np.flip(x, axis=0); np.matmul(x, y); np.matmul(y, x)
np.dot(x, y); np.dot(y, x); np.dot(v, x[0]); np.outer(v, x[0]); np.einsum("ij,jk->ik", x, y)
np.einsum("ij,jk->ik", y, x); np.take(x, [0, 1], axis=1); np.take(x, indices=2); np.split(x, 3, axis=1)[1]
np.split(x, [1], axis=1)[1]; v * x; x * v; v + x; v - x; v / x; v ** x; x ** v; y @ x; x @ y; v @ x.T; x @ v
2 * x; 2.0 - x; 1 / x; 2.0 ** x; x ** 2; -x; abs(x); np.float64(2) * x; x / np.float32(2); np.array(2.0) * x
x.T; x[0]; x[:, 1]; x[v > 1, :] if len(v) == len(x) else x[:, v > 1]; x[np.array([1, 1])]; x.sum(axis=1, keepdims=True)
x.reshape(3, 2); x.reshape((3, 2)); x.reshape(-1); x.transpose(); x.transpose(1, 0); x.transpose((1, 0)); x.mean()
x.max(axis=0); x.min(); x.prod(); x.cumsum(axis=1); x.var(ddof=1); x.clip(0.7, 1.5); x.clip(min=0.8); x.dot(y)
x.swapaxes(0, 1); x[:1].squeeze(0); x.take([1, 1], axis=1); list(x)[1]; x[0].transpose(0); x.clip(max=1.2)
"""


@pytest.mark.parametrize("expression", [e.strip() for line in DISPATCHED.splitlines() for e in line.split(";") if e])
def test_numpy_expression_works_on_a_tensor(expression: str) -> None:
    def f(x: Any) -> Any:
        return eval(expression, {"np": np, "x": x, "y": Y, "v": V})

    leaf = Tensor(X, requires_grad=True)
    out = f(leaf)
    assert type(out) is Tensor and out.requires_grad
    np.testing.assert_allclose(out.data, f(X), rtol=1e-12)
    assert out.shape == np.shape(f(X))
    assert gradcheck(f, X)


@pytest.mark.parametrize("name", ["exp", "log", "log1p", "expm1", "sqrt", "square", "abs", "sin", "cos", "tanh", "sigmoid", "relu"])  # fmt: skip # noqa: E501
def test_elementwise_methods(name: str) -> None:
    x = Tensor([0.5, 1.5], requires_grad=True)
    np.testing.assert_array_equal(getattr(x, name)().data, PRIMITIVES[name](x).data)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_what_relu_cuts_off_lets_no_infinity_through(dtype) -> None:
    x = np.array([-1.0, -0.0, 0.0, 2.0, np.inf, np.nan], dtype)
    for g in (np.inf, -np.inf, 3.0):
        (grad,) = gradients(ops.relu, x, grad=np.full(6, g, dtype))
        assert grad.dtype == dtype and grad.tolist() == [0, 0, 0, g, g, g]  # as in PyTorch
    assert gradients(ops.relu, dtype(2), grad=dtype(np.inf)) == [np.inf]


def test_logsumexp_method_and_positions() -> None:
    x = Tensor([[0.5, 1.5], [2.5, 0.0]], requires_grad=True)
    np.testing.assert_array_equal(x.logsumexp(axis=1).data, ops.logsumexp(x, axis=1).data)
    assert x.argmax() == 2 and x.argmin(axis=1).tolist() == [0, 1] and np.argmax(a=x, axis=0).tolist() == [1, 0]
    assert isinstance(np.isnan(x), np.ndarray) and np.isfinite(x).all()
    assert np.shape(x) == (2, 2) and np.ndim(x) == 2 and np.size(x) == 4


WITHOUT_RULE = (
    "arctan std median sort linalg.norm linalg.inv ravel tile repeat zeros_like allclose arcsinh fft.fft cumprod"
)


@pytest.mark.parametrize("name", WITHOUT_RULE.split())
@pytest.mark.parametrize("requires_grad", [True, False])
def test_numpy_function_without_a_rule(name: str, requires_grad: bool) -> None:
    function = np
    for part in name.split("."):
        function = getattr(function, part)
    x = Tensor([[1.0, 2.0], [3.0, 5.0]], requires_grad=requires_grad)
    arguments = {"tile": (x, 2), "repeat": (x, 2), "allclose": (x, x)}.get(name, (x,))
    with pytest.raises(TypeError, match=rf"np\.{name}: no rule to differentiate it on a Tensor; .*odyssey\.ops"):
        function(*arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: np.exp(x, out=np.ones(2)), r"np\.exp: takes no out"),
        (lambda x: np.add(x, 1, where=np.array([True, False])), r"np\.add: takes no where"),
        (lambda x: np.multiply(x, 2, dtype=np.float64), r"np\.multiply: takes no dtype"),
        (lambda x: np.isnan(x, out=np.ones(2, bool)), r"np\.isnan: takes no out"),
        (lambda x: np.ones(2).__iadd__(x), r"np\.add: takes no out"),
        (lambda x: np.sum(x, dtype=np.float64), r"sum.*dtype"),
        (lambda x: np.sum(x, 0, np.float64), "sum"),
        (lambda x: np.sum(x, where=np.array([True, False])), r"sum.*where"),
        (lambda x: np.max(x, initial=0.0), r"max.*initial"),
        (lambda x: np.mean(x, out=np.ones(())), r"mean.*out"),
        (lambda x: np.var(x, 0, np.float64), "var"),
        (lambda x: np.reshape(x, (2, 1), order="F"), r"reshape.*order"),
        (lambda x: np.take(x, [0], mode="wrap"), r"take.*mode"),
        (lambda x: np.clip(x, 0, 1, out=np.ones(2)), r"clip.*out"),
        (lambda x: np.concatenate([x], dtype=np.float64), r"concatenate.*dtype"),
        (lambda x: np.einsum("i->", x, optimize=True), r"einsum.*optimize"),
        (lambda x: np.add.reduce(x), r"np\.add\.reduce: no rule"),
        (lambda x: np.add.accumulate(x), r"np\.add\.accumulate: no rule"),
        (lambda x: np.multiply.outer(x, x), r"np\.multiply\.outer: no rule"),
        (lambda x: np.add.at(x, 0, 1.0), r"np\.add\.at: no rule"),
        (lambda x: np.asarray(x), r"Tensor: .* would lose its gradient; use x\.data, or x\.detach"),
        (lambda x: np.array([x, x]), r"would lose its gradient"),
        (lambda x: Tensor([x.sum(), x.sum()]), r"would lose its gradient"),
        (lambda x: ops.sum(x=x), r"sum: no gradient flows to this argument"),
        (lambda x: np.clip([1.0, 2.0], x, None), r"clip: no gradient flows"),
        (lambda x: np.pad(x, 1, constant_values=x[0]), r"pad: no gradient flows"),
        (lambda x: x + None, r"add: .*object"),
        (lambda x: x * "a", r"multiply: "),
        (lambda x: x[1.5], r"getitem: .*only integers"),
        (lambda x: np.take(x, [0.5]), r"take: indices must be integers, got float64"),
        (lambda x: np.einsum(x, [0]), r"einsum: expected a subscript string"),
        (lambda x: ops.exp(x, axis=1), r"exp.*axis"),
    ],
)
def test_what_is_not_supported_is_a_type_error(call: Any, message: str) -> None:
    with pytest.raises((TypeError, IndexError), match=message):
        call(Tensor([1.0, 2.0], requires_grad=True))


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda x: x @ np.ones(5, np.float32), ValueError, r"matmul: .*\(inputs: float32 \(2, 3\), float32 \(5,\)\)"),
        (lambda x: x + np.ones(5, np.float32), ValueError, r"add: .*inputs: float32 \(2, 3\), float32 \(5,\)"),
        (lambda x: x.reshape(5), ValueError, r"reshape: .*float32 \(2, 3\)"),
        (lambda x: x.sum(axis=2), np.exceptions.AxisError, r"sum: axis 2 is out of bounds"),
        (lambda x: x[5], IndexError, r"getitem: index 5 is out of bounds"),
        (lambda x: np.concatenate([x, x.T]), ValueError, r"concatenate: .*\(2, 3\).*\(3, 2\)"),
        (lambda x: np.pad(x, 1, mode="edge"), ValueError, r"pad: only mode='constant'"),
        (lambda x: x.clip(), ValueError, r"clip: needs a bound"),
        (lambda x: np.einsum("ijk->i", x), ValueError, r"einsum: 'ijk->i' gives 3 letters to an operand of shape"),
        (lambda x: np.einsum("ij,jk", x), ValueError, r"einsum: 'ij,jk' names 2 operands, got 1"),
        (lambda x: np.split(x, 2, axis=2), np.exceptions.AxisError, r"split: axis 2 is out of bounds"),
        (lambda x: np.split(x, 2, axis=1), ValueError, r"equal division"),
        (lambda x: ops.stack([]), ValueError, r"stack: "),
        (lambda x: np.transpose(x, (0, 0)), ValueError, r"transpose: "),
        (lambda x: x.take([7]), IndexError, r"take: index 7"),
    ],
)
def test_error_names_the_operation(call: Any, kind: Any, message: str) -> None:
    x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    with pytest.raises(kind, match=message):
        call(x)
    x.sum().backward()  # and the tape still works
    assert (x.grad == 1).all()


@needs.flags
def test_error_of_another_kind_carries_a_note() -> None:
    with np.errstate(all="raise"), pytest.raises(FloatingPointError) as caught:
        np.log(Tensor([0.0], requires_grad=True))
    assert "log: with inputs float32 (1,)" in caught.value.__notes__


@pytest.mark.parametrize("number", [2, 2.5, True, np.float64(2.5), np.float32(2.5), np.float16(2.5), np.int64(2)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_number_never_upcasts(number: Any, dtype: Any) -> None:
    a = np.array([1.0, 2.0], dtype)
    calls = [
        lambda x: x + number,
        lambda x: number - x,
        lambda x: number * x,
        lambda x: x / number,
        lambda x: number**x,
        lambda x: x**number,
        lambda x: np.maximum(x, number),
        lambda x: np.minimum(number, x),
        lambda x: np.where(np.array([True, False]), x, number),
        lambda x: np.clip(x, number, None),
        lambda x: np.clip(x, None, number),
        lambda x: np.dot(x, number),
        lambda x: np.outer(x, number),
        lambda x: np.einsum("i,->i", x, number),
        lambda x: np.pad(x, 1, constant_values=number),
    ]
    for call in calls:
        leaf = Tensor(a, requires_grad=True)
        out = call(leaf)
        assert out.dtype == dtype
        out.backward(np.ones(out.shape))
        assert leaf.grad.dtype == dtype
        with no_grad():
            assert call(leaf).dtype == dtype
        assert call(Tensor(a)).dtype == dtype


def test_numbers_alone_are_float32() -> None:
    assert ops.add(1.5, 2.0).dtype == ops.exp(1.0).dtype == ops.power(2.0, 2).dtype == np.float32
    assert ops.multiply(2, 3).dtype == np.array(2).dtype
    assert ops.concatenate([[1.0], [2.0]]).dtype == np.float32


def test_a_mask_of_bools_counts_as_numbers() -> None:
    x = Tensor(np.array([1.0, 2.0], np.float32), requires_grad=True)
    out = x * np.array([True, False]) + np.array([1, 2], np.int8)
    assert out.dtype == np.float32
    out.backward([1.0, 1.0])
    assert x.grad.tolist() == [1, 0]


def test_comparisons_are_plain_on_both_sides() -> None:
    x, a = Tensor([1.0, 2.0, 3.0], requires_grad=True), np.array([2.0, 2.0, 2.0])
    for result, expected in [
        (x < a, [True, False, False]),
        (a < x, [False, False, True]),
        (x <= 2, [True, True, False]),
        (2 <= x, [False, True, True]),
        (x > x.detach(), [False] * 3),
        (x >= np.float64(2), [False, True, True]),
        (np.float64(2) >= x, [True, True, False]),
        (x == a, [False, True, False]),
        (a == x, [False, True, False]),
        (x != 2, [True, False, True]),
        (np.greater(a, x), [True, False, False]),
    ]:
        assert type(result) is np.ndarray and result.dtype == bool
        assert result.tolist() == expected


def test_split_returns_parts_that_share_one_gradient() -> None:
    x = Tensor(np.arange(6.0), requires_grad=True)
    parts = np.split(x, 3)
    assert [part.data.tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]
    (parts[0].sum() * 2 + parts[2].sum()).backward()
    assert x.grad.tolist() == [2, 2, 0, 0, 1, 1]
    assert [p.shape for p in ops.split(np.ones((2, 5)), [1, -1, 7], axis=-1)] == [(2, 1), (2, 3), (2, 1), (2, 0)]


def test_indices_may_be_tensors() -> None:
    x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    out = x[Tensor([2, 2, 0])].sum() + x[Tensor([True, False, False])].sum() + np.take(x, Tensor([1])).sum()
    out.backward()
    assert x.grad.tolist() == [2, 1, 2]


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.int16, bool])
def test_the_dtype_of_a_condition_decides_nothing(dtype) -> None:
    half = Tensor(np.ones(2, np.float16), requires_grad=True)
    out = np.where(np.array([1, 0], dtype), half, 0.0)
    assert out.dtype == np.float16 and out.data.tolist() == [1, 0]
    out.sum().backward()
    assert half.grad.tolist() == [1, 0]
    assert np.where(Tensor(np.array([1.0, 0.0])), half, 0.0).dtype == np.float16


def test_a_list_used_as_index_may_change_afterwards() -> None:
    chosen = [0, 1]
    x = Tensor([1.0, 2.0], requires_grad=True)
    y, z = x[chosen].sum(), x.reshape(1, 2)[0, chosen].sum()
    chosen[1] = 0
    (y + z).backward()
    assert x.grad.tolist() == [2, 2]
    assert x[[]].shape == (0,) and np.take(x, [], axis=0).shape == (0,)


def test_beside_a_nan_maximum_and_minimum_let_the_gradient_through() -> None:
    for f in (np.maximum, np.minimum):
        x = Tensor(np.array([np.nan, 2.0]), requires_grad=True)
        f(x, np.array([1.0, np.nan])).backward(np.ones(2))
        assert x.grad.tolist() == [1, 1]  # as in PyTorch

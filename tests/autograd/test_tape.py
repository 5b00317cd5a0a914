"""The tape: what is recorded, how it is swept, what is freed when, and what is refused."""

import copy
import pickle
import platform
import subprocess
import sys
import threading
import time
import tracemalloc
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import odyssey
from odyssey import Tensor, detect_anomaly, no_grad, ops
from odyssey.autograd import NUMPY_RULES, PRIMITIVES, Row, Tape, primitive, unbroadcast
from tests import needs
from tests.autograd.cases import check_freed, primitives_of


@pytest.fixture
def registry() -> Iterator[None]:
    """Forgets the primitives that a test defines."""
    before, rules = dict(PRIMITIVES), dict(NUMPY_RULES)
    yield
    for table, old in [(PRIMITIVES, before), (NUMPY_RULES, rules)]:
        table.clear()
        table.update(old)


def leaf(*values: float) -> Tensor:
    return Tensor(list(values), requires_grad=True)


# Making a Tensor.


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, np.float32),
        ([1.5, 2], np.float32),
        ([[1.0], [2.0]], np.float32),
        ((1.0, 2.0), np.float32),
        (np.float64(1.5), np.float32),
        (np.float16(1.5), np.float32),
        ([np.float64(1.5), np.float64(2)], np.float32),
        ([], np.float32),
        (1, np.int64),
        ([1, 2], np.int64),
        (np.int32(1), np.int32),
        (True, np.bool_),
        ([True, False], np.bool_),
        (np.array(1.5), np.float64),
        (np.array([1.5], np.float16), np.float16),
        (np.array([1], np.uint8), np.uint8),
        ([np.array([1.5]), np.array([2.5])], np.float64),
        (Tensor(np.array([1.5])), np.float64),
        (range(3), np.int64),
    ],
)
def test_dtype_of_data(data: Any, dtype: Any) -> None:
    x = Tensor(data)
    assert x.dtype == dtype and type(x.data) is np.ndarray
    assert x.shape == np.shape(data.data if isinstance(data, Tensor) else data)
    assert Tensor(data, dtype=np.float64).dtype == np.float64


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        ("abc", TypeError, "expected float, integer or bool data, got dtype <U3"),
        (None, TypeError, "got dtype object"),
        (object(), TypeError, "got dtype object"),
        (1j, TypeError, "got dtype complex128"),
        (np.zeros(2, complex), TypeError, "got dtype complex128"),
        (np.zeros(2, [("a", "f4")]), TypeError, "got dtype"),
        (np.zeros(2, "datetime64[s]"), TypeError, "got dtype datetime64"),
        ([[1.0], [1.0, 2.0]], ValueError, "Tensor: .*; give rows of equal length"),
        ({"a": 1}, TypeError, "got dtype object"),
    ],
)
def test_bad_data(data: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        Tensor(data)


def test_an_array_is_not_copied() -> None:
    a = np.arange(3.0)
    x = Tensor(a, requires_grad=True)
    assert x.data is a and x.numpy() is a and Tensor(x).data is a and x.detach().data is a
    assert np.asarray(x.detach()) is a and np.array(x.detach()) is not a
    assert np.asarray(x.detach(), dtype=np.float32).dtype == np.float32


@pytest.mark.parametrize("data", [1, [True, False], np.array([1, 2], np.uint8)])
def test_integers_refuse_a_gradient(data: Any) -> None:
    with pytest.raises(TypeError, match=r"requires_grad=True needs float data, got .*; convert it with dtype"):
        Tensor(data, requires_grad=True)
    x = Tensor(data)
    with pytest.raises(TypeError, match="needs float data"):
        x.requires_grad = True
    assert not x.requires_grad
    assert Tensor(data, requires_grad=True, dtype=np.float32).requires_grad


def test_setting_requires_grad() -> None:
    x = Tensor([1.0, 2.0])
    x.requires_grad = True
    y = (x * 2).sum()
    with pytest.raises(RuntimeError, match=r"a result of sum keeps requires_grad=True; use x\.detach\(\)"):
        y.requires_grad = False
    y.requires_grad = True  # it does already
    y.backward()
    assert x.grad.tolist() == [2, 2]
    x.requires_grad = False
    assert not x.requires_grad and not (x * 2).requires_grad


def test_data_is_assigned_as_a_whole() -> None:
    x = Tensor(np.array(1.0), requires_grad=True)
    x.data = x.data - 0.5  # NumPy makes this a scalar
    assert type(x.data) is np.ndarray and x.dtype == np.float64 and x.item() == 0.5
    y = x * np.float64(3) + 1
    assert y.dtype == np.float64
    y.backward()
    assert x.grad == 3 and x.grad.dtype == np.float64
    x.data = [1.0, 2.0]
    assert x.dtype == np.float64 and x.shape == (2,)
    with pytest.raises(TypeError, match=r"needs float data, got int\d+"):
        x.data = np.array([1, 2])
    with pytest.raises(TypeError, match="expected float"):
        x.data = None
    assert x.data.tolist() == [1, 2]


def test_new_data_does_not_change_what_was_recorded() -> None:
    x = leaf(1.0, 2.0)
    loss = (x * x).sum()
    x.data = x.data + 10
    loss.backward()
    assert x.grad.tolist() == [2, 4]  # where the loss was computed


def test_python_and_numpy_sums_of_a_list() -> None:
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    sum([x, y * 2]).sum().backward()
    assert x.grad.tolist() == [1, 1] and y.grad.tolist() == [2, 2]
    with pytest.raises(TypeError, match="would lose its gradient"):
        np.sum([x, y])


def test_shape_and_size() -> None:
    x = Tensor(np.zeros((2, 3)))
    assert (x.shape, x.ndim, x.size, len(x), x.T.shape) == ((2, 3), 2, 6, 2, (3, 2))
    with pytest.raises(AttributeError):
        x.shape = (3, 2)


def test_repr() -> None:
    assert repr(Tensor([1.0, 2.5])) == "Tensor([1. , 2.5])"
    assert repr(Tensor(1.0)) == "Tensor(1.)"
    assert repr(Tensor([1.0], requires_grad=True)) == "Tensor([1.], requires_grad=True)"
    assert repr(Tensor(np.array(2.0), requires_grad=True)) == "Tensor(2., dtype=float64, requires_grad=True)"
    assert repr(Tensor([1, 2])) == "Tensor([1, 2], dtype=int64)"
    assert repr(Tensor([[1.0], [2.0]])) == "Tensor([[1.],\n        [2.]])"
    assert str(Tensor([True])) == "Tensor([ True], dtype=bool)"


def test_conversions() -> None:
    x = Tensor(np.array([[2.5]]), requires_grad=True)
    assert float(x) == 2.5 and x.item() == 2.5 and type(x.item()) is float and f"{x:.2f}" == "2.50"
    assert f"{x}" == repr(x)
    assert bool(Tensor(1.0)) and not bool(Tensor([0]))
    two = Tensor([1.0, 2.0])
    with pytest.raises(ValueError, match=r"item: expected a tensor of one element, got shape \(2,\)"):
        two.item()
    for call in (float, "{:.2f}".format):
        with pytest.raises(ValueError, match="item: "):
            call(two)
    with pytest.raises(ValueError, match="ambiguous"):
        bool(two)
    with pytest.raises(TypeError, match="unsized"):
        len(Tensor(1.0))


def test_iteration_gives_rows_on_the_tape() -> None:
    x = Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)
    a, b, c = x
    assert b.data.tolist() == [2, 3]
    (a + 2 * c).sum().backward()
    assert x.grad.tolist() == [[1, 1], [0, 0], [2, 2]]
    with pytest.raises(TypeError, match="unsized"):
        list(Tensor(1.0))


def test_a_tensor_is_a_key_by_identity() -> None:
    x, y = leaf(1.0), leaf(1.0)
    table = {x: "x", y: "y"}
    assert table[x] == "x" and table[y] == "y" and len({x, y, x}) == 2 and hash(x) == hash(x)


def test_copies() -> None:
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert other.requires_grad and other.grad.tolist() == [2, 4]
        assert not np.shares_memory(other.data, x.data) and not np.shares_memory(other.grad, x.grad)
        (other * 3).sum().backward()
        assert other.grad.tolist() == [5, 7] and x.grad.tolist() == [2, 4]
    model = {"w": x, "same": x}
    twin = copy.deepcopy(model)
    assert twin["w"] is twin["same"] and twin["w"] is not x
    result = x * 2
    for call in (copy.deepcopy, copy.copy, pickle.dumps):
        with pytest.raises(TypeError, match=r"a result of multiply cannot be copied without its tape; use x\.detach"):
            call(result)
    assert copy.deepcopy(result.detach()).data.tolist() == [2, 4]


def test_a_subclass_is_a_tensor() -> None:
    class Parameter(Tensor):
        pass

    w, x = Parameter([1.0, 2.0], requires_grad=True), leaf(3.0, 4.0)
    y = np.exp(w * x) + w[0] + (x - w) + np.concatenate([w, x])[:2] + 2 * w + np.array([1.0, 1.0]) * w
    y.sum().backward()
    e = np.exp([3.0, 8.0])
    np.testing.assert_allclose(w.grad, [3 * e[0] + 2 - 1 + 1 + 2 + 1, 4 * e[1] - 1 + 1 + 2 + 1], rtol=1e-5)
    assert w.sum().tape()[0].op == "leaf" and w.detach().requires_grad is False


# Recording.


def test_what_is_recorded() -> None:
    x, c = leaf(1.0, 2.0), Tensor([3.0, 4.0])
    assert x.requires_grad and not c.requires_grad
    assert (x + c).requires_grad and (c + x).requires_grad and not (c + c).requires_grad
    assert (x + 1).requires_grad and (np.ones(2) + x).requires_grad
    assert not ops.exp([1.0]).requires_grad and isinstance(ops.exp([1.0]), Tensor)
    assert not (x.detach() + 1).requires_grad
    assert ops.concatenate([c, x]).requires_grad and not ops.stack([c, c]).requires_grad


def test_in_place_operators_make_a_new_tensor() -> None:
    x = leaf(1.0, 2.0)
    first = x
    x += 1
    x *= 3
    x -= 2
    x /= 2
    x **= 2
    assert first is not x and first.data.tolist() == [1, 2]
    x.sum().backward()
    np.testing.assert_allclose(first.grad, [2 * 2 * 1.5, 2 * 3.5 * 1.5])
    with pytest.raises(TypeError, match="does not support item assignment"):
        x[0] = 1.0


def test_gradients_of_the_operators() -> None:
    a, b = Tensor(np.array(3.0), requires_grad=True), Tensor(np.array(2.0), requires_grad=True)
    for f, da, db in [
        (lambda: a + b, 1, 1),
        (lambda: a - b, 1, -1),
        (lambda: a * b, 2, 3),
        (lambda: a / b, 0.5, -0.75),
        (lambda: a**b, 6, 9 * np.log(3)),
        (lambda: -a + abs(-b), -1, 1),
        (lambda: 2 - a + 6 / b, -1, -1.5),
        (lambda: a**2.5 + 2**b, 2.5 * 3**1.5, 4 * np.log(2)),
        (lambda: (1 + a) * (b * 3), 6, 12),
        (lambda: np.array(2.0) / a - np.array(1.0) + b, -2 / 9, 1),
    ]:
        a.grad = b.grad = None
        f().backward()
        np.testing.assert_allclose([a.grad, b.grad], [da, db], rtol=1e-12)


def test_unknown_operators() -> None:
    x = leaf(1.0)
    for call in (lambda: x // 2, lambda: x % 2, lambda: pow(x, 2, 3), lambda: x & x):
        with pytest.raises(TypeError):
            call()


# Backward.


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda x: x + x, [2, 2]),
        (lambda x: x * x, [2, 6]),
        (lambda x: x @ x, [2, 6]),
        (lambda x: x - x, [0, 0]),
        (lambda x: x * x * x, [3, 27]),
        (lambda x: (lambda y: y * y + y)(x * 2), [10, 26]),  # a diamond
        (lambda x: (lambda y: np.stack([y, x, y, x * y]))(x + 1), [6, 10]),
        (lambda x: np.concatenate([x, x, x]), [3, 3]),
        (lambda x: np.einsum("i,i,i->", x, x, x), [3, 27]),
        (lambda x: x[[0, 0, 0]] + x[1], [3, 3]),
        (lambda x: x.reshape(2, 1) * x, [8, 8]),
        (lambda x: np.where(x > 2, x, x * x), [2, 1]),
    ],
)
def test_fan_out_adds(f: Any, expected: list[float]) -> None:
    x = leaf(1.0, 3.0)
    f(x).sum().backward()
    assert x.grad.tolist() == expected
    f(x).sum().backward()  # and again: gradients accumulate
    assert x.grad.tolist() == [2 * g for g in expected]


def test_only_leaves_keep_a_gradient() -> None:
    x, c = leaf(1.0, 2.0), Tensor([1.0, 1.0])
    y = x * c
    loss = y.sum()
    loss.backward()
    assert x.grad is not None and y.grad is None and loss.grad is None and c.grad is None


def test_backward_of_a_leaf() -> None:
    x = Tensor(2.0, requires_grad=True)
    x.backward()
    x.backward(3.0)
    assert x.grad == 4 and x.grad.shape == () and x.grad.dtype == np.float32


def test_gradients_are_not_shared() -> None:
    a, b, g = leaf(1.0, 2.0), leaf(3.0, 4.0), np.array([1.0, 1.0], np.float32)
    (a + b).backward(g)
    assert a.grad is not b.grad and a.grad is not g
    a.grad *= 10
    assert b.grad.tolist() == [1, 1] and g.tolist() == [1, 1]
    c = leaf(1.0, 2.0)
    c.backward(g)
    c.grad *= 10
    assert g.tolist() == [1, 1]
    first = a.grad
    (a + b).backward(g)
    assert first.tolist() == [10, 10] and a.grad.tolist() == [11, 11]  # accumulated into a new array


def test_gradients_of_a_view_are_not_shared() -> None:
    x, y = leaf(1.0, 2.0, 3.0, 4.0), leaf(5.0, 6.0, 7.0, 8.0)
    (x.reshape(2, 2) + y.reshape(2, 2).T).backward(np.ones((2, 2)))
    assert x.grad.base is None and y.grad.base is None
    z = Tensor(np.ones((2, 2)), requires_grad=True)
    np.broadcast_to(z.sum(), (3,)).backward(np.ones(3))
    z.grad[0, 0] = 7
    assert z.grad.tolist() == [[7, 3], [3, 3]]


def test_a_rule_may_return_one_array_for_two_inputs(registry: None) -> None:
    @primitive()
    def total(x: Any, y: Any) -> Any:
        """x + y."""

        def vjp(g: Any) -> Any:
            fresh = g * 1
            return fresh, fresh

        return x + y, vjp

    a, b = leaf(1.0), leaf(2.0)
    total(a, b).backward()
    a.grad += 5
    assert a.grad == 6 and b.grad == 1
    total(a, a).backward()
    assert a.grad == 8


def test_second_backward_fails_and_changes_nothing() -> None:
    x = leaf(1.0, 2.0)
    loss = np.sum(x * x)
    loss.backward()
    with pytest.raises(RuntimeError, match=r"already used up at 'sum' \(shape \(\)\); .*retain_tape=True"):
        loss.backward()
    with pytest.raises(RuntimeError, match="already used up"):
        loss.tape()
    assert x.grad.tolist() == [2, 4]
    np.sum(x * x).backward()
    assert x.grad.tolist() == [4, 8]


def test_two_losses_that_share_a_part() -> None:
    x = leaf(1.0, 2.0)
    shared = x * x
    first, second = shared.sum(), (shared * 3 + x).sum()
    first.backward()
    with pytest.raises(RuntimeError, match=r"already used up at 'multiply' \(shape \(2,\)\)"):
        second.backward()
    assert x.grad.tolist() == [2, 4]
    # The rest of the second tape is as before: nothing was half swept.
    shared = x * x
    first, second = shared.sum(), (shared * 3 + x).sum()
    first.backward(retain_tape=True)
    second.backward()
    assert x.grad.tolist() == [2 + 2 + 6 + 1, 4 + 4 + 12 + 1]


def test_retained_tape_can_be_swept_again() -> None:
    x = leaf(1.0, 2.0)
    loss = np.exp(x * x).sum()
    loss.backward(retain_tape=True)
    once = x.grad.copy()
    loss.backward(retain_tape=True)
    np.testing.assert_allclose(x.grad, 2 * once)
    loss.backward()
    np.testing.assert_allclose(x.grad, 3 * once)
    with pytest.raises(RuntimeError, match="used up"):
        loss.backward()


def test_where_the_sweep_starts() -> None:
    x = Tensor(np.array([1.0, 2.0], np.float16), requires_grad=True)
    y = x * 2
    with pytest.raises(
        RuntimeError, match=r"expected a tensor of one element, got shape \(2,\); reduce it.* pass grad"
    ):
        y.backward()
    for bad in (np.ones(3), np.ones((1, 2)), 1.0):
        with pytest.raises(ValueError, match=r"backward: expected grad of shape \(2,\), got \("):
            y.backward(bad)
    with pytest.raises(TypeError, match="expected float"):
        y.backward("ab")
    y.backward(np.array([1, 2], np.int64), retain_tape=True)
    assert x.grad.dtype == np.float16 and x.grad.tolist() == [2, 4]
    y.backward(Tensor([1.0, 1.0]))
    assert x.grad.tolist() == [4, 6]
    with pytest.raises(RuntimeError, match=r"backward: this tensor needs no gradient; .*requires_grad=True"):
        Tensor(1.0).backward()
    one = Tensor([[3.0]], requires_grad=True)
    (one * 2).backward()  # one element, whatever the shape
    assert one.grad.tolist() == [[2]]


def test_a_gradient_of_the_wrong_shape_stands_in_the_way() -> None:
    x = leaf(1.0, 2.0)
    x.grad = np.ones(3, np.float32)
    with pytest.raises(ValueError, match=r"a leaf of shape \(2,\) has a grad of shape \(3,\); clear it"):
        x.sum().backward()
    x.grad = None
    x.sum().backward()
    assert x.grad.tolist() == [1, 1]
    x.grad = np.ones(2)  # of float64
    x.sum().backward()
    assert x.grad.tolist() == [2, 2] and x.grad.dtype == np.float32


def test_one_failing_leaf_changes_no_other() -> None:
    x, y = leaf(1.0), leaf(1.0)
    y.grad = np.ones(3)
    with pytest.raises(ValueError, match="clear it"):
        (x * y).backward()
    assert x.grad is None and y.grad.shape == (3,)


def test_detach_cuts_the_tape() -> None:
    x = leaf(1.0, 2.0)
    (x * x.detach()).sum().backward()
    assert x.grad.tolist() == [1, 2]


def test_unbroadcast() -> None:
    g = np.arange(24.0).reshape(2, 3, 4)
    assert unbroadcast(g, (2, 3, 4)) is g
    np.testing.assert_array_equal(unbroadcast(g, (3, 1)), g.sum((0, 2))[:, None])
    np.testing.assert_array_equal(unbroadcast(g, (1, 1, 4)), g.sum((0, 1), keepdims=True))
    assert unbroadcast(g, ()).shape == () and unbroadcast(g, ()) == g.sum()
    assert unbroadcast(np.zeros((0, 3)), (1, 3)).shape == (1, 3)


# Long chains and memory.


def test_a_chain_of_100_000_operations() -> None:
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    y = x
    for _ in range(50_000):
        y = y * 1.00001 + 0.5
    y.sum().backward()
    np.testing.assert_allclose(x.grad, 1.00001**50_000, rtol=1e-9)
    y = x
    for _ in range(100_000):
        y = -y
    assert len(y.tape()) == 100_001
    del y  # without backward: no recursion either
    y = x[0]
    for _ in range(50_000):  # closures, as most rules have
        y = np.maximum(y, 0.0).reshape(())
    del y


def test_a_sweep_frees_what_was_saved(registry: None) -> None:
    saved: list[weakref.ref[np.ndarray]] = []
    alive: list[int] = []

    @primitive()
    def spy(x: Any) -> Any:
        """x, and a look at who is alive when the sweep arrives here."""

        def vjp(g: Any) -> Any:
            alive.append(sum(ref() is not None for ref in saved))
            return (g * 1,)

        return x * 1, vjp

    def chain() -> Tensor:
        y = spy(leaf(0.5, 0.25))
        for f in (np.exp, np.sin, np.log1p, np.tanh, np.square, ops.sigmoid, np.expm1) * 3:
            y = f(y)
            saved.append(weakref.ref(y.data))
        return y.sum()

    chain().backward()  # the first sweep of a new primitive keeps the tape, until its vjp has stood the checks
    assert alive.pop() >= 15
    saved.clear()
    loss = chain()
    assert sum(ref() is not None for ref in saved) >= 15
    loss.backward()
    assert alive == [0]
    saved.clear()
    loss = chain()
    loss.backward(retain_tape=True)
    assert alive[1] >= 15


def test_a_used_up_entry_holds_nothing() -> None:
    x = leaf(0.5, 0.25)
    y = np.exp(x)
    ref = weakref.ref(y.data)
    z, w = np.sin(y), np.maximum(y, 0)  # both saved it, and both stay in use
    del y
    (z + w).sum().backward()
    assert ref() is None


def test_a_loss_out_of_scope_frees_its_tape_without_the_garbage_collector() -> None:
    def forward() -> list[weakref.ref[Any]]:
        x = Tensor(np.full((2, 2), 0.5), requires_grad=True)
        refs: list[weakref.ref[Any]] = []
        for name, operation in primitives_of("odyssey.autograd").items():
            arguments = {
                **dict.fromkeys(["add", "subtract", "multiply", "divide", "power", "maximum", "minimum"], (x, x)),
                **dict.fromkeys(["matmul", "dot", "outer"], (x, x)),
                **dict.fromkeys(["concatenate", "stack"], ([x, x],)),
                "where": (x.data > 0, x, x),
                "clip": (x, 0, 1),
                "reshape": (x, 4),
                "swapaxes": (x, 0, 1),
                "moveaxis": (x, 0, 1),
                "expand_dims": (x, 0),
                "broadcast_to": (x, (2, 2, 2)),
                "pad": (x, 1),
                "einsum": ("ij,jk", x, x),
                "getitem": (x, [0, 0]),
                "take": (x, [0, 0]),
            }.get(name, (x,))
            inner = operation(*arguments)
            refs += [weakref.ref(inner), weakref.ref(inner.data), weakref.ref(np.exp(inner).data)]
            x = x * 1
        refs.append(weakref.ref(x.data))
        with detect_anomaly():
            y = np.exp(x * 2).sum()
            refs.append(weakref.ref(y.data))
        y.tape()
        return refs

    check_freed(forward)


def test_peak_memory_of_a_backward() -> None:
    n, size = 40, 50_000 * 8
    x = Tensor(np.linspace(0.1, 0.9, 50_000), requires_grad=True)
    y = x
    for _ in range(n // 2):
        y = np.sin(np.exp(-y))
    loss = y.sum()
    del y
    tracemalloc.start()
    try:
        loss.backward()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * size  # a few gradients at a time, not one per operation


# Rules that are wrong.


def wrong(name: str, vjp: Any, *, fixed: Any = None) -> Any:
    def rule(x: Any, y: Any) -> Any:
        """x + y."""
        return x + y, (vjp if fixed is None else ())

    rule.__name__ = name
    return primitive(vjp=fixed)(rule)


def raising(g: Any) -> Any:
    raise KeyError("inside")


@pytest.mark.parametrize(
    ("vjp", "message"),
    [
        (lambda g: (g,), r"faulty: its vjp must return a tuple with one gradient for each of its 2 inputs, got 1 grad"),
        (lambda g: (g, g, g), r"faulty: .* got 3 gradients"),
        (lambda g: g, r"faulty: .* got ndarray"),
        (lambda g: [g, g], r"faulty: .* got list"),
        (lambda g: (g, None), r"faulty: its vjp must return a gradient of shape \(2,\).*got NoneType; return an array"),
        (lambda g: (g, 0.0), r"faulty: .* got float"),
        (lambda g: (g, g[:1]), r"faulty: .*shape \(2,\).* got shape \(1,\); look for a missing sum"),
        (lambda g: (g, np.stack([g, g])), r"faulty: .* got shape \(2, 2\)"),
        (lambda g: (g, g.sum()), r"faulty: .* got shape \(\)"),
        (lambda g: (g, g * np.ones(2)), r"faulty: .*dtype float32, got dtype float64; look for a constant that upc"),
        (lambda g: (g, g.astype(np.int64)), r"faulty: .* got dtype int64"),
        ((lambda g: g, lambda g: None), r"faulty: .* got NoneType"),
        ((lambda g: g, None), r"faulty"),
        ((lambda g: g,), r"faulty: .* got 1 gradients"),
        (raising, r"faulty"),
    ],
)
@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("inner", [False, True])
def test_a_wrong_gradient_is_refused(registry: None, vjp: Any, message: str, retain: bool, inner: bool) -> None:
    faulty = wrong("faulty", vjp)
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    a.grad = np.array([5.0, 5.0], np.float32)
    loss = (faulty(np.exp(a), np.exp(b)) if inner else faulty(a, b)).sum() + b.sum()
    with pytest.raises((TypeError, KeyError), match=message):
        loss.backward(retain_tape=retain)
    assert a.grad.tolist() == [5, 5] and b.grad is None
    (a * b).sum().backward()
    assert a.grad.tolist() == [8, 9] and b.grad.tolist() == [1, 2]


def test_a_retained_tape_can_be_retried_after_an_error(registry: None) -> None:
    broken = [True]

    @primitive()
    def fragile(x: Any) -> Any:
        """x."""

        def vjp(g: Any) -> Any:
            if broken[0]:
                raise ValueError("not now")
            return (g * 1,)

        return x * 1, vjp

    x = leaf(1.0, 2.0)
    y = x * 2
    loss = (fragile(y) * y + y).sum()
    with pytest.raises(ValueError, match="not now") as caught:
        loss.backward(retain_tape=True)
    assert any("fragile" in note for note in caught.value.__notes__)
    assert x.grad is None
    broken[0] = False
    loss.backward()
    assert x.grad.tolist() == [2 * (4 + 1), 2 * (8 + 1)]  # no gradient of the first attempt is counted


def test_a_decorator_checks_its_own_arguments() -> None:
    with pytest.raises(TypeError, match="faulty: vjp must have one function for each of 2 inputs"):
        wrong("faulty", None, fixed=(lambda g, _: g,))
    with pytest.raises(TypeError, match="faulty: vjp must have one function"):
        wrong("faulty", None, fixed=(lambda g, _: g, None))
    with pytest.raises(TypeError, match=r"expected NumPy functions, as in @primitive\(np\.exp\)"):
        primitive(lambda x: x)
    assert "faulty" not in PRIMITIVES


def test_a_new_primitive_answers_numpy(registry: None) -> None:
    @primitive(np.arctan)
    def arctan(x: Any) -> Any:
        """Inverse tangent."""
        return np.arctan(x), lambda g: (g / (1 + x * x),)

    x = leaf(1.0, 2.0)
    y = np.arctan(x)
    y.sum().backward()
    np.testing.assert_allclose(x.grad, [0.5, 0.2])
    assert PRIMITIVES["arctan"] is arctan and arctan.__doc__ == "Inverse tangent."


def test_an_error_in_the_forward_pass_leaves_the_tape_alone() -> None:
    x = leaf(1.0, 2.0)
    y = x * 3
    before = repr(y.tape())
    for call in (lambda: y + np.ones(3), lambda: np.exp(y, out=1), lambda: y[7], lambda: np.concatenate([y, "a"])):
        with pytest.raises((ValueError, TypeError, IndexError)):
            call()
    assert repr(y.tape()) == before
    y.sum().backward()
    assert x.grad.tolist() == [3, 3]


# no_grad.


def test_no_grad() -> None:
    x = leaf(1.0, 2.0)

    @no_grad()
    def silent() -> Tensor:
        """Doubles."""
        return x * 2

    assert not silent().requires_grad and silent.__name__ == "silent"
    with no_grad():
        assert not (x * x).requires_grad and not np.exp(x).requires_grad and not np.sum(x).requires_grad
        with no_grad():
            assert not (x + 1).requires_grad
        assert not (x + 1).requires_grad
        new = Tensor([1.0], requires_grad=True)
        assert new.requires_grad
    assert (x * x).requires_grad
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert (x * x).requires_grad and np.exp(x).requires_grad
    with no_grad() as context, context:
        assert not (-x).requires_grad
    assert (-x).requires_grad


def test_no_grad_allows_backward_of_an_earlier_tape() -> None:
    x = leaf(1.0, 2.0)
    loss = (x * x).sum()
    with no_grad():
        loss.backward()
    assert x.grad.tolist() == [2, 4]


@needs.threads
def test_no_grad_holds_in_its_own_thread_only() -> None:
    x = leaf(1.0, 2.0)
    inside, leave = threading.Event(), threading.Event()
    seen: list[bool] = []

    def other() -> None:
        with no_grad():
            inside.set()
            leave.wait(10)
            seen.append((x * 2).requires_grad)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    assert (x * 2).requires_grad and np.sum(x).requires_grad and np.exp(x).requires_grad
    leave.set()
    thread.join(10)
    assert seen == [False]


@needs.threads
def test_backward_in_several_threads() -> None:
    class Slow(Tensor):
        """A leaf whose gradient takes so long to read that every thread gets a turn."""

        @property
        def grad(self) -> Any:
            value = Tensor.grad.__get__(self)
            time.sleep(0.001)
            return value

        @grad.setter
        def grad(self, value: Any) -> None:
            Tensor.grad.__set__(self, value)

    w = Slow(np.zeros(3), requires_grad=True)

    def work(k: int) -> None:
        for _ in range(5):
            ((w + 1) * k).sum().backward()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert w.grad.tolist() == [5 * 28] * 3


# detect_anomaly.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: np.log(x),
            r"log: the forward pass made -inf out of finite inputs, first at index \(1,\) of shape \(2",
        ),
        (lambda x: 1 / x, r"divide: the forward pass made inf"),
        (lambda x: np.sqrt(x - 1), r"sqrt: the forward pass made nan"),
        (lambda x: np.exp(x + 1000).sum(), r"exp: the forward pass made inf .* index \(0,\)"),
        (lambda x: np.prod(x + 1e30), r"prod: the forward pass made inf out of finite inputs, first at index \(\)"),
        (lambda x: x.detach() / 0.0, r"divide: the forward pass made inf"),
    ],
)
def test_anomaly_in_the_forward_pass(call: Any, message: str) -> None:
    x = leaf(1.0, 0.0)
    with detect_anomaly(), pytest.raises(RuntimeError, match=message):
        call(x)
    with np.errstate(all="ignore"):
        call(x)  # outside: nothing happens


def test_anomaly_blames_the_first_operation() -> None:
    x = leaf(1.0, 0.0)
    with np.errstate(all="ignore"):
        y = np.log(x)  # before the block
    with detect_anomaly():
        z = y * 2 + 1  # infinite, but not by its own fault
        assert np.isinf((x * float("inf")).data[0])
        assert np.isneginf(np.where(x > 0, x, -np.inf).data[1])
    assert np.isneginf(z.data[1])


@pytest.mark.parametrize(
    ("f", "op", "what"),
    [
        (lambda x: np.sqrt(x), "sqrt", "inf"),
        (lambda x: x**0.5, "power", "inf"),
        (lambda x: np.sqrt(x * 1), "sqrt", "inf"),
        (lambda x: np.sqrt(x * 1) * 0 + np.sqrt(x), "sqrt", "nan|inf"),
    ],
)
@pytest.mark.parametrize("recorded_inside", [True, False])
def test_anomaly_in_the_backward_sweep(f: Any, op: str, what: str, recorded_inside: bool) -> None:
    x = leaf(4.0, 0.0)
    x.grad = np.array([1.0, 1.0], np.float32)
    if recorded_inside:
        with detect_anomaly():
            loss = f(x).sum()
    else:
        loss = f(x).sum()
    with detect_anomaly(), pytest.raises(RuntimeError, match=rf"{op}: the backward pass made ({what}) .*\(1,\)"):
        loss.backward()
    assert x.grad.tolist() == [1, 1]
    with np.errstate(all="ignore"):
        loss.backward()  # the tape is intact, also the part that was swept
    assert np.isinf(x.grad[1]) or np.isnan(x.grad[1])


@pytest.mark.parametrize(
    ("f", "op", "which"),
    [
        (lambda a, b: a * b, "multiply", "a"),  # functions given once, with the decorator
        (lambda a, b: a * b, "multiply", "b"),
        (lambda a, b: a + b, "exp", "result"),
        (lambda a, b: np.sin(a) - b, "sin", "a"),
        (lambda a, b: np.maximum(a, b), "maximum", "a"),  # closures
        (lambda a, b: a @ b, "matmul", "b"),
        (lambda a, b: np.prod(a) + b, "prod", "a"),
        (lambda a, b: np.concatenate([a, b])[1:] + a**2, "power", "a"),
        (lambda a, b: np.einsum("i,i->", a, b), "einsum", "a"),  # partials
    ],
)
@pytest.mark.parametrize("backward_inside", [True, False])
def test_a_changed_array_is_named(f: Any, op: str, which: str, backward_inside: bool) -> None:
    x, y = Tensor([1.0], requires_grad=True), Tensor([3.0], requires_grad=True)
    with detect_anomaly():
        a, b = x * 1, y * 1
        if which == "result":
            a = result = np.exp(a)
        loss = f(a, b).sum()
    changed = {"a": a, "b": b, "result": result if which == "result" else a}[which].data
    changed[0] += 1
    message = rf"{op}: an array of shape \(.*\) that it saved .* was changed in place .* assign a new array"
    with detect_anomaly() if backward_inside else nullcontext(), pytest.raises(RuntimeError, match=message):
        loss.backward()
    assert x.grad is None and y.grad is None


def test_a_changed_index_is_named() -> None:
    x, index = leaf(1.0, 2.0, 3.0), np.array([0, 1])
    with detect_anomaly():
        loss = x[index].sum()
    index[0] = 2
    with pytest.raises(RuntimeError, match="getitem: an array"):
        loss.backward()


def test_an_untouched_tape_passes_the_checks() -> None:
    x = leaf(1.0, 2.0)
    with detect_anomaly():
        loss = (np.exp(x) * x + np.einsum("i,i->", x, x) + x[[0, 0]]).sum()
        loss.backward(retain_tape=True)
        loss.backward()
    y = leaf(1.0, 2.0)
    loss = (np.exp(y) * y + np.einsum("i,i->", y, y) + y[[0, 0]]).sum()
    loss.backward()
    np.testing.assert_allclose(x.grad, 2 * y.grad)
    with pytest.raises(RuntimeError, match="used up"):
        loss.backward()
    x.data[0] = 5.0  # after backward a leaf may change: this is what an optimizer does
    with detect_anomaly():
        loss = (x * x).sum()
        loss.backward()
        with pytest.raises(RuntimeError, match="used up"):
            loss.backward()


@needs.threads
def test_detect_anomaly_ends_with_its_block() -> None:
    x = leaf(0.0, 1.0)

    def caught() -> bool:
        try:
            with np.errstate(all="ignore"):
                np.log(x)
        except RuntimeError:
            return True
        return False

    assert not caught()
    with detect_anomaly():
        with detect_anomaly():
            assert caught()
        assert caught()
        with ThreadPoolExecutor(1) as pool:
            assert not pool.submit(caught).result()  # another thread keeps its own setting
        with no_grad():
            assert caught()
    assert not caught()
    with pytest.raises(KeyError), detect_anomaly():
        raise KeyError
    assert not caught()

    @detect_anomaly()
    def checked() -> bool:
        return caught()

    assert checked() and checked() and not caught()


# The listing.


def test_tape_listing() -> None:
    x, w = Tensor([1.0, 2.0], requires_grad=True), Tensor([[1.0], [2.0]], requires_grad=True)
    y = np.sum((x @ w) * 3.0 + x[0])
    tape = y.tape()
    assert isinstance(tape, Tape) and len(tape) == 7
    assert list(tape) == [
        Row(0, "leaf", (), (2,)),
        Row(1, "leaf", (), (2, 1)),
        Row(2, "matmul", (0, 1), (1,)),
        Row(3, "multiply", (2, None), (1,)),
        Row(4, "getitem", (0,), ()),
        Row(5, "add", (3, 4), (1,)),
        Row(6, "sum", (5,), ()),
    ]
    assert tape[2].op == "matmul" and tape[-1].op == "sum"
    assert repr(tape).splitlines() == [
        "index  op        inputs    shape",
        "    0  leaf                (2,)",
        "    1  leaf                (2, 1)",
        "    2  matmul    0, 1      (1,)",
        "    3  multiply  2, const  (1,)",
        "    4  getitem   0         ()",
        "    5  add       3, 4      (1,)",
        "    6  sum       5         ()",
    ]
    html = tape._repr_html_()
    assert html.startswith("<table>") and html.count("<tr>") == 8 and "<td>2, const</td>" in html
    y.backward()  # looking changed nothing
    assert x.grad is not None


def test_tape_holds_only_what_the_result_depends_on() -> None:
    x = leaf(1.0)
    other = np.exp(x)
    y = x * 2
    late = np.sin(other)
    assert [row.op for row in y.tape()] == ["leaf", "multiply"]
    assert [row.op for row in late.tape()] == ["leaf", "exp", "sin"]
    assert [row.op for row in (late + y).tape()] == ["leaf", "exp", "multiply", "sin", "add"]


def test_tape_of_a_leaf_and_of_a_constant() -> None:
    for x in (leaf(1.0, 2.0), Tensor([1.0, 2.0])):
        assert list(x.tape()) == [Row(0, "leaf", (), (2,))]
    assert "leaf" in repr(leaf(1.0).tape())


def test_html_is_escaped(registry: None) -> None:
    def rule(x: Any) -> Any:
        """x."""
        return x * 1, lambda g: (g,)

    rule.__name__ = "<b>"
    assert "&lt;b&gt;" in primitive()(rule)(leaf(1.0)).tape()._repr_html_()


def test_public_names() -> None:
    for name in odyssey.__all__:
        assert hasattr(odyssey, name)
    for name in odyssey.autograd.__all__:
        assert hasattr(odyssey.autograd, name)
    assert odyssey.ops is odyssey.autograd.primitives


def test_a_leaf_with_a_grad_of_another_shape_leaves_the_tape_as_it_was() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    x.grad = np.zeros(5, np.float32)
    with pytest.raises(ValueError, match=r"a leaf of shape \(2,\) has a grad of shape \(5,\); clear it"):
        y.backward()
    x.grad = None
    y.backward()
    assert x.grad.tolist() == [2, 4]


def test_a_rule_must_return_a_result_and_a_vjp() -> None:
    def one(x):
        return x * 2

    def none(x):
        return x * 2, None

    def two(x, y):
        return np.stack([x, y])

    try:
        for rule in (one, none, two):
            operation = primitive()(rule)
            inputs = [Tensor([1.0, 2.0], requires_grad=True)] * (2 if rule is two else 1)
            with pytest.raises(TypeError, match=rf"{rule.__name__}: a rule returns \(out, vjp\)"):
                operation(*inputs)
            with pytest.raises(TypeError, match=rf"{rule.__name__}: a rule returns \(out, vjp\)"), no_grad():
                operation(*inputs)
    finally:
        for name in ("one", "none", "two"):
            PRIMITIVES.pop(name, None)


def saved_in_a_default(x):
    return x * x, (lambda g, x=x: (2 * g * x,))


def saved_in_a_nested_function(x):
    def helper(g):
        return 2 * g * x

    return x * x, lambda g: (helper(g),)


def saved_in_a_dict(x):
    kept = {"x": x}
    return x * x, lambda g: (2 * g * kept["x"],)


@pytest.mark.parametrize("rule", [saved_in_a_default, saved_in_a_nested_function, saved_in_a_dict])
def test_a_changed_array_is_found_wherever_the_vjp_keeps_it(rule) -> None:
    try:
        operation = primitive()(rule)
        with detect_anomaly():
            x = Tensor([1.0, 2.0], requires_grad=True)
            y = operation(x).sum()
            x.data[0] = 9
            with pytest.raises(RuntimeError, match=rf"{rule.__name__}: an array of shape \(2,\)"):
                y.backward()
    finally:
        PRIMITIVES.pop(rule.__name__, None)


def test_no_grad_decorates_without_parentheses() -> None:
    @no_grad
    def double(x):
        return x * 2

    x = Tensor([1.0], requires_grad=True)
    assert not double(x).requires_grad and (x * 2).requires_grad


def test_comparison_with_a_numpy_scalar_is_that_with_a_python_number() -> None:
    x = Tensor([0.1])
    assert (x == 0.1).all() and (x == np.float64(0.1)).all() and not (x != np.float64(0.1)).any()


@pytest.mark.parametrize(
    "vjp", [lambda g: (g[:1],), lambda g: (g, g), lambda g: [g], lambda g: (None,), lambda g: 1 / 0]
)
def test_after_an_error_in_a_new_vjp_the_tape_is_as_it_was(registry: None, vjp: Any) -> None:
    @primitive()
    def mistaken(x: Any) -> Any:
        return x * 2, vjp

    x = leaf(1.0, 2.0)
    loss = (mistaken(x) * x).sum()
    before = repr(loss.tape())
    messages = []
    for _ in range(2):
        with pytest.raises((TypeError, ZeroDivisionError)) as error:
            loss.backward()
        messages.append(str(error.value))
        assert x.grad is None and repr(loss.tape()) == before
    assert messages[0] == messages[1] and "used up" not in messages[0]


STEPS = """
import resource
import numpy as np
{first}

def step():
    arrays = [np.zeros(1_000_000, np.float32)]
    for _ in range(7):
        arrays.append(arrays[-1] + 1)

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for _ in range(3):
    step()
before = faults()
for _ in range(5):
    step()
print(faults() - before)
"""


@needs.processes
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about the C library of most Linux systems")
def test_freed_memory_stays_with_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)  # either would set the behaviour for good
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)

    def page_faults(first: str) -> int:
        program = [sys.executable, "-c", STEPS.format(first=first)]
        return int(subprocess.run(program, capture_output=True, text=True, check=True).stdout)

    alone, kept = page_faults(""), page_faults("import odyssey")
    assert alone >= 80 and kept <= alone / 10

"""SGD against PyTorch, and what all optimizers share: groups, buckets, states, errors."""

import copy
import json
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from odyssey import Tensor, detect_anomaly
from odyssey.data import load_digits
from odyssey.optim import SGD, Optimizer
from odyssey.optim.sgd import BLOCK, SMALL

REFERENCE = Path(__file__).parents[1] / "reference" / "sgd.npz"


def leaf(array, dtype=np.float64) -> Tensor:
    return Tensor(np.array(array, dtype), requires_grad=True)


def with_gradients(shapes, rng, dtype=np.float64) -> list[Tensor]:
    params = [leaf(rng.standard_normal(shape), dtype) for shape in shapes]
    for p in params:
        p.grad = np.asarray(rng.standard_normal(p.shape), dtype)
    return params


def snapshot(optimizer: Optimizer):
    state = optimizer.state_dict()
    arrays = {(i, k): np.array(v) for i, s in state["state"].items() for k, v in s.items()}
    params = [p.data.copy() for g in optimizer.param_groups for p in g["params"]]
    return arrays, params, [{k: v for k, v in g.items() if k != "params"} for g in state["param_groups"]]


def allocated_by(work) -> int:
    """Bytes that a call allocates at its peak."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    work()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return peak


def equal(a, b) -> bool:
    return (
        a[0].keys() == b[0].keys()
        and all(np.array_equal(a[0][k], b[0][k]) for k in a[0])
        and all(np.array_equal(x, y) for x, y in zip(a[1], b[1], strict=True))
        and a[2] == b[2]
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-14), (np.float32, 2e-6)])
def test_trajectories_are_those_of_pytorch(dtype, tolerance) -> None:
    with np.load(REFERENCE) as stored:
        options = json.loads(str(stored["options"]))
        assert len(options) == 8
        for i, kwargs in enumerate(options):
            w = leaf(stored["start"], dtype)
            optimizer = SGD([w], **kwargs)
            for g, expected in zip(stored["gradients"], stored[f"path{i}"], strict=True):
                w.grad = g.astype(dtype)
                optimizer.step()
                np.testing.assert_allclose(w.data, expected, rtol=0, atol=tolerance)


SHAPES = [(), (3,), (2, 3, 4), (SMALL + 5,), (BLOCK + 7,), (0, 3), (1,)]


def test_buckets_give_what_one_parameter_alone_gives() -> None:
    """Small ones share a block, large ones are cut; some miss steps. Alone, each gives the same numbers."""
    rng, options = np.random.default_rng(0), {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    together = with_gradients(SHAPES, rng)
    apart = [leaf(p.data) for p in together]
    optimizer, alone = SGD(together, **options), [SGD([p], **options) for p in apart]
    for step in range(6):
        for i, (p, q) in enumerate(zip(together, apart, strict=True)):
            skip = (step + i) % 4 == 0
            p.grad = None if skip else np.asarray(rng.standard_normal(p.shape))
            q.grad = None if skip else p.grad.copy()
        optimizer.step()
        for other in alone:
            other.step()
    for p, q in zip(together, apart, strict=True):
        np.testing.assert_array_equal(p.data, q.data)
    steps = {i: s["step"] for i, s in optimizer.state_dict()["state"].items()}
    assert steps == {i: sum((step + i) % 4 != 0 for step in range(6)) for i in range(len(SHAPES))}


def test_none_gradients_leave_parameter_and_state() -> None:
    a, b = with_gradients([(3,), (3,)], np.random.default_rng(0))
    optimizer = SGD([a, b], lr=0.1, momentum=0.9)
    optimizer.step()
    before, a.grad = snapshot(optimizer), None
    optimizer.step()
    after = snapshot(optimizer)
    assert np.array_equal(before[1][0], after[1][0]) and not np.array_equal(before[1][1], after[1][1])
    assert after[0][0, "step"] == 1 and after[0][1, "step"] == 2
    optimizer.zero_grad()
    assert b.grad is None
    optimizer.step()
    assert equal(after, snapshot(optimizer))


def test_a_state_resumes_bit_for_bit_and_is_a_copy() -> None:
    rng = np.random.default_rng(0)
    params = with_gradients(SHAPES, rng, np.float32)

    def groups(ps):
        return [{"params": ps[:2], "lr": 0.3}, {"params": ps[2:]}]

    optimizer = SGD(groups(params), lr=0.1, momentum=0.9, nesterov=True)
    optimizer.step()
    state = optimizer.state_dict()
    json.dumps([{k: v for k, v in g.items()} for g in state["param_groups"]])
    others = [Tensor(p.data.copy(), requires_grad=True) for p in params]
    resumed = SGD(groups(others), lr=9.0)
    resumed.load_state_dict(state)
    for s in state["state"].values():
        s["momentum_buffer"][...] = np.nan  # neither optimizer may notice
    for p, q in zip(params, others, strict=True):
        q.grad = p.grad.copy()
    optimizer.step()
    resumed.step()
    assert equal(snapshot(optimizer), snapshot(resumed))
    assert [g["lr"] for g in resumed.param_groups] == [0.3, 0.1]


def test_wrong_states_are_refused_and_change_nothing() -> None:
    optimizer = SGD(with_gradients([(2,), (3, 2)], np.random.default_rng(0)), lr=0.1, momentum=0.9)
    optimizer.step()
    good = optimizer.state_dict()
    first = good["state"][0]
    group = good["param_groups"][0]
    bad = {
        "no dict": 3,
        "empty": {},
        "groups no list": {**good, "param_groups": 3},
        "group without params": {**good, "param_groups": [{"lr": 0.1}]},
        "another number of parameters": {**good, "param_groups": [{**group, "params": [0]}]},
        "more groups": {**good, "param_groups": [group, group]},
        "missing option": {**good, "param_groups": [{"params": [0, 1], "lr": 0.1}]},
        "bad option": {**good, "param_groups": [{**group, "lr": -1.0}]},
        "unknown parameter": {**good, "state": {7: first}},
        "state no dict": {**good, "state": {0: 3}},
        "another optimizer": {**good, "state": {0: {"step": 1, "exp_avg": np.zeros(2)}}},
        "another shape": {**good, "state": {1: first}},
        "negative step": {**good, "state": {0: {**first, "step": -1}}},
        "half a step": {**good, "state": {0: {**first, "step": 1.5}}},
        "no numbers": {**good, "state": {0: {**first, "momentum_buffer": np.array(["a", "b"])}}},
    }
    before = snapshot(optimizer)
    for name, state in bad.items():
        with pytest.raises(ValueError):
            optimizer.load_state_dict(state)
        assert equal(before, snapshot(optimizer)), name


def test_new_data_is_what_is_trained() -> None:
    (p,) = with_gradients([(3,)], np.random.default_rng(0))
    optimizer = SGD([p], lr=0.5, momentum=0.9)
    optimizer.step()
    velocity = optimizer.state_dict()["state"][0]["momentum_buffer"]
    p.data = np.array([1.0, 2.0, 3.0])
    mine = p.data
    p.grad = np.ones(3)
    optimizer.step()
    expected = np.array([1.0, 2.0, 3.0]) - 0.5 * (0.9 * velocity + 1)
    assert p.data is mine and np.allclose(mine, expected)
    p.data = np.ones(3, np.float32)  # another dtype: the state follows
    p.grad = np.ones(3, np.float32)
    optimizer.step()
    assert p.dtype == np.float32 and optimizer.state_dict()["state"][0]["momentum_buffer"].dtype == np.float32
    p.data, p.grad = np.ones(4, np.float32), np.ones(4, np.float32)
    with pytest.raises(ValueError, match="had \\(3,\\)"):
        optimizer.step()


def test_memory_of_every_kind() -> None:
    """Views stay views, Fortran order stays, read-only arrays are replaced, half precision works in float32."""
    base = np.ones((4, 6))
    view = Tensor(base[:, ::2], requires_grad=True)
    order = Tensor(np.asfortranarray(np.ones((2, 3))), requires_grad=True)
    frozen = Tensor(np.broadcast_to(np.float64(1), (3,)), requires_grad=True)
    half = leaf(np.ones(3), np.float16)
    params = [view, order, frozen, half]
    optimizer = SGD(params, lr=1e-4, momentum=0.5)
    for _ in range(2):
        for p in params:
            p.grad = np.asfortranarray(np.ones(p.shape, p.dtype))
        optimizer.step()
    moved = 1 - 1e-4 * (1 + 1.5)
    assert np.allclose(base[:, ::2], moved) and np.all(base[:, 1::2] == 1)
    assert np.allclose(order.data, moved) and order.data.flags.f_contiguous
    assert np.allclose(frozen.data, moved)
    assert half.dtype == np.float16 and optimizer.state_dict()["state"][3]["momentum_buffer"].dtype == np.float32


def test_two_optimizers_copies_and_later_groups() -> None:
    a, b = with_gradients([(2,), (2,)], np.random.default_rng(0))
    one, two = SGD([a], lr=0.1, momentum=0.9), SGD([a], lr=0.1)
    start, g = a.data.copy(), a.grad
    one.step()
    two.step()
    assert np.allclose(a.data, start - 0.2 * g)
    for twin in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        (c,) = twin.param_groups[0]["params"]
        assert c is not a and equal(snapshot(one), snapshot(twin))
        twin.step()
        assert not np.array_equal(c.data, a.data)
    one.add_param_group({"params": (p for p in [b]), "lr": 1.0})
    start = b.data.copy()
    one.param_groups[1]["lr"] = 2.0
    one.step()
    assert np.allclose(b.data, start - 2 * b.grad)


def test_nan_gradients() -> None:
    a, b = with_gradients([(2,), (2,)], np.random.default_rng(0))
    b.grad[1] = np.nan
    optimizer = SGD([a, b], lr=0.1, momentum=0.9)
    before = snapshot(optimizer)
    with detect_anomaly(), pytest.raises(RuntimeError, match=r"parameter 1 of group 0.*nan at index \(1,\)"):
        optimizer.step()
    assert equal(before, snapshot(optimizer))
    optimizer.step()
    assert np.isnan(b.data).tolist() == [False, True]


P = leaf([1.0, 2.0])
BAD_ARGUMENTS = {
    "negative rate": (ValueError, lambda: SGD([P], lr=-0.1)),
    "nan rate": (ValueError, lambda: SGD([P], lr=float("nan"))),
    "infinite rate": (ValueError, lambda: SGD([P], lr=float("inf"))),
    "bool rate": (TypeError, lambda: SGD([P], lr=True)),
    "text rate": (TypeError, lambda: SGD([P], lr="0.1")),
    "negative momentum": (ValueError, lambda: SGD([P], lr=0.1, momentum=-0.9)),
    "negative decay": (ValueError, lambda: SGD([P], lr=0.1, weight_decay=-1)),
    "nan dampening": (ValueError, lambda: SGD([P], lr=0.1, dampening=float("nan"))),
    "nesterov number": (TypeError, lambda: SGD([P], lr=0.1, nesterov=1)),
    "nesterov alone": (ValueError, lambda: SGD([P], lr=0.1, nesterov=True)),
    "nesterov damped": (ValueError, lambda: SGD([P], lr=0.1, momentum=0.9, dampening=0.1, nesterov=True)),
    "nothing": (ValueError, lambda: SGD([], lr=0.1)),
    "used generator": (ValueError, lambda: SGD((p for p in ()), lr=0.1)),
    "empty group": (ValueError, lambda: SGD([{"params": []}], lr=0.1)),
    "group without params": (ValueError, lambda: SGD([{"lr": 0.1}], lr=0.1)),
    "one tensor": (TypeError, lambda: SGD(P, lr=0.1)),
    "array": (TypeError, lambda: SGD([np.ones(2)], lr=0.1)),
    "number": (TypeError, lambda: SGD(3, lr=0.1)),
    "mixed": (TypeError, lambda: SGD([{"params": [P]}, P], lr=0.1)),
    "twice": (ValueError, lambda: SGD([P, P], lr=0.1)),
    "twice over groups": (ValueError, lambda: SGD([{"params": [P]}, {"params": P}], lr=0.1)),
    "result": (ValueError, lambda: SGD([P * 2], lr=0.1)),
    "unknown option": (ValueError, lambda: SGD([{"params": [P], "momentun": 0.9}], lr=0.1)),
    "bad option in a group": (ValueError, lambda: SGD([{"params": [P], "lr": -1}], lr=0.1)),
}


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_bad_arguments_are_named(name: str) -> None:
    error, make = BAD_ARGUMENTS[name]
    with pytest.raises(error, match=r"^SGD: "):
        make()


@pytest.mark.parametrize(
    ("grad", "error"),
    [(np.ones(3), ValueError), ([1.0, 1.0], TypeError), (np.ones(2, np.int64), TypeError), (1.0, TypeError)],
)
def test_bad_gradients_change_nothing(grad, error) -> None:
    good, bad = with_gradients([(2,), (2,)], np.random.default_rng(0))
    optimizer = SGD([good, bad], lr=0.1, momentum=0.9)
    before, bad.grad = snapshot(optimizer), grad
    with pytest.raises(error, match="SGD: parameter 1 of group 0"):
        optimizer.step()
    assert equal(before, snapshot(optimizer))


def test_a_failed_group_is_not_added() -> None:
    optimizer = SGD([P], lr=0.1)
    with pytest.raises(ValueError):
        optimizer.add_param_group({"params": [leaf([1.0])], "lr": -1})
    assert len(optimizer.param_groups) == 1
    optimizer.step()


def test_a_step_allocates_nothing_that_grows() -> None:
    peaks = []
    for size in (BLOCK, 10 * BLOCK):
        params = with_gradients([(size,), (50,), (60,)], np.random.default_rng(0), np.float32)
        optimizer = SGD(params, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True)
        optimizer.step()
        peaks.append(allocated_by(optimizer.step))
    assert max(peaks) < 20_000


@pytest.mark.parametrize("options", [{"lr": 0.019}, {"lr": 0.03, "momentum": 0.7},
                                     {"lr": 0.01, "momentum": 0.8, "nesterov": True}])  # fmt: skip
def test_converges_on_a_quadratic(options) -> None:
    w, curvatures = leaf([1.0, 1.0]), np.array([1.0, 100.0])
    optimizer = SGD([w], **options)
    for _ in range(800):
        w.grad = curvatures * w.data
        optimizer.step()
    assert abs(w.data).max() < 1e-6


def test_converges_on_rosenbrock() -> None:
    w = leaf([-1.2, 1.0])
    optimizer = SGD([w], lr=2e-4, momentum=0.95)
    for _ in range(4000):
        optimizer.zero_grad()
        ((1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2).backward()
        optimizer.step()
    assert abs(w.data - 1).max() < 1e-2


def test_learns_the_digits() -> None:
    X, y = load_digits()["train"]
    X, rng = X.reshape(-1, 64), np.random.default_rng(0)
    W1, b1, W2, b2 = params = [leaf(rng.normal(0, 0.2, s), np.float32) for s in [(64, 32), (32,), (32, 10), (10,)]]
    optimizer = SGD(params, lr=0.3, momentum=0.9)
    for _ in range(60):
        optimizer.zero_grad()
        z = np.tanh(X @ W1 + b1) @ W2 + b2
        np.mean(z.logsumexp(axis=1) - z[np.arange(len(y)), y]).backward()
        optimizer.step()
    assert np.mean(z.argmax(axis=1) == y) > 0.95


def test_a_base_without_a_rule_says_so() -> None:
    p = leaf([1.0])
    p.grad = np.ones(1)
    with pytest.raises(NotImplementedError, match="define update"):
        Optimizer([p], {"lr": 0.1}).step()

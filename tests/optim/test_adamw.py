"""AdamW against PyTorch and against the paper; checks that the tests of the younger optimizers use too."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from odyssey import Tensor, detect_anomaly, optim
from odyssey.optim import SGD, Adam, AdamW
from odyssey.optim.sgd import BLOCK
from tests import needs
from tests.optim.test_adam import digits_loss
from tests.optim.test_sgd import allocated_by, equal, leaf, snapshot, with_gradients
from tests.reference.make_optim_young import CONFIGURATIONS, FIRST, problem

REFERENCE = Path(__file__).parents[1] / "reference" / "optim_young.npz"
PRECISIONS = pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 2e-5)])


def check_trajectories(kind, dtype, tolerance) -> None:
    """Each tensor follows the frozen path; deviations are measured against the largest number that it had so far."""
    with np.load(REFERENCE) as stored:
        cases = json.loads(str(stored["cases"]))
        assert sum(name == kind for name, _ in cases) == CONFIGURATIONS
        for number, (name, (first, second)) in enumerate(cases):
            if name != kind:
                continue
            starts, gradients = problem(kind, number)
            params = [leaf(start, dtype) for start in starts]
            groups = [{"params": params[:FIRST], **first}, {"params": params[FIRST:], **second}]
            optimizer = getattr(optim, kind)(groups, lr=1.0)
            ends = np.cumsum([p.size for p in params])[:-1]
            scales = [max(1.0, abs(start).max()) for start in starts]
            for step, path in zip(gradients, stored[f"path{number}"], strict=True):
                set_gradients(params, step)
                optimizer.step()
                for i, (p, expected) in enumerate(zip(params, np.split(path, ends), strict=True)):
                    scales[i] = max(scales[i], abs(expected).max())
                    np.testing.assert_allclose(
                        p.data.ravel(), expected, rtol=0, atol=tolerance * scales[i], err_msg=str((number, i))
                    )


def set_gradients(params, gradients) -> None:
    for p, g in zip(params, gradients, strict=True):
        p.grad = None if g is None else np.asarray(g, p.dtype)


def check_rule(make, literal, options, starts, gradients, tolerance=1e-10) -> None:
    """The optimizer and a function from (start, gradients, options) to the end agree, one tensor at a time."""
    params = [leaf(start) for start in starts]
    optimizer = make(params, **options)
    for step in gradients:
        set_gradients(params, step)
        optimizer.step()
    for i, p in enumerate(params):
        expected = literal(starts[i].copy(), [step[i] for step in gradients if step[i] is not None], **options)
        scale = max(1.0, abs(starts[i]).max(), abs(expected).max())
        np.testing.assert_allclose(p.data, expected, rtol=0, atol=tolerance * scale, err_msg=str((options, i)))


def check_resumes(make, shapes, dtype=np.float32) -> None:
    """Saved in the middle and loaded into a fresh optimizer, with other options, training goes on bit for bit."""
    params = with_gradients(shapes, np.random.default_rng(0), dtype)

    def run(optimizer, params, seed) -> None:
        rng = np.random.default_rng(seed)
        for step in range(3):
            drawn = [rng.standard_normal(p.shape) for p in params]
            set_gradients(params, [None if (step + i) % 3 == 2 else g for i, g in enumerate(drawn)])
            optimizer.step()

    optimizer = make([{"params": params[:1], "lr": 0.05}, {"params": params[1:]}])
    run(optimizer, params, 2)
    state = optimizer.state_dict()
    others = [Tensor(p.data.copy(), requires_grad=True) for p in params]
    resumed = make([{"params": others[:1]}, {"params": others[1:]}], lr=9.0)
    resumed.load_state_dict(state)
    assert [group["lr"] for group in resumed.param_groups] == [g["lr"] for g in optimizer.param_groups]
    for saved in state["state"].values():
        for name, values in saved.items():
            if name != "step":
                values[...] = np.nan  # neither optimizer may notice
    run(optimizer, params, 3)
    run(resumed, others, 3)
    assert equal(snapshot(optimizer), snapshot(resumed))
    assert all(np.isfinite(p.data).all() for p in params)


def check_data_and_states_between_steps(make, shape) -> None:
    """New arrays are trained in place, with the old state; a state may be loaded between two steps, and twice."""
    (p,) = with_gradients([shape], np.random.default_rng(0))
    optimizer = make([p])
    optimizer.step()
    saved, fresh = optimizer.state_dict(), np.random.default_rng(1).standard_normal(shape)
    ends = []
    for _ in range(2):
        p.data = fresh.copy()
        mine = p.data
        optimizer.step()
        assert p.data is mine and not np.array_equal(mine, fresh)
        ends.append(mine)
        optimizer.load_state_dict(saved)
    assert np.array_equal(*ends)
    other = leaf(fresh)
    other.grad = p.grad
    alone = make([other])
    alone.load_state_dict(saved)
    alone.step()
    assert np.array_equal(other.data, ends[0])  # what was in p before the new array plays no part
    p.data, p.grad = fresh.astype(np.float32), p.grad.astype(np.float32)
    optimizer.step()
    assert p.dtype == np.float32 and np.allclose(p.data, ends[0], atol=1e-5)
    p.data = p.grad = np.ones((*shape, 2), np.float32)
    with pytest.raises(ValueError, match=r"had \(.*make a new optimizer"):
        optimizer.step()


def check_memory(make, shapes, limit=20_000) -> None:
    """A steady step allocates next to nothing, for a small model and for a large one."""
    for shape in shapes:
        params = with_gradients([shape, (2, 3), (3, 2)], np.random.default_rng(0), np.float32)
        optimizer = make(params)
        optimizer.step()
        assert allocated_by(optimizer.step) < limit + needs.MORE_ROWS, shape


def check_order(make) -> None:
    """Fortran order, transposed views, views with gaps, read-only arrays: bit for bit what plain arrays give."""
    rng = np.random.default_rng(0)
    values, gradients = rng.standard_normal((4, 3, 5)), rng.standard_normal((3, 4, 3, 5))
    gap = np.full((3, 10), 7.0)
    gap[:, ::2] = values[2]
    frozen = values[3].copy()
    frozen.flags.writeable = False
    odd = [np.asfortranarray(values[0]), values[1].T.copy().T, gap[:, ::2], frozen]
    plain, others = [leaf(v) for v in values], [Tensor(a, requires_grad=True) for a in odd]
    one, two = make(plain), make(others)
    for step in gradients:
        for p, q, g in zip(plain, others, step, strict=True):
            p.grad, q.grad = g.copy(), np.asfortranarray(g)
        one.step()
        two.step()
    for p, q in zip(plain, others, strict=True):
        np.testing.assert_array_equal(p.data, q.data)
    assert others[0].data.flags.f_contiguous and others[2].data.base is gap and np.all(gap[:, 1::2] == 7)


def check_gradients(make, shape=(2, 3)) -> None:
    """Missing gradients leave parameter and state; bad ones change nothing; NaN passes, unless it is looked for."""
    a, b = params = with_gradients([shape, shape], np.random.default_rng(0))
    optimizer = make(params)
    name = type(optimizer).__name__
    optimizer.step()
    before, a.grad = snapshot(optimizer), None
    optimizer.step()
    after = snapshot(optimizer)
    assert np.array_equal(before[1][0], after[1][0]) and not np.array_equal(before[1][1], after[1][1])
    assert after[0][0, "step"] == 1 and after[0][1, "step"] == 2
    assert all(np.array_equal(v, after[0][k]) for k, v in before[0].items() if k[0] == 0)
    a.grad = np.ones(shape)
    for bad, error in [
        (np.ones((*shape, 1)), ValueError),
        (np.ones(shape[::-1]), ValueError),
        (np.ones(shape).tolist(), TypeError),
        (np.ones(shape, int), TypeError),
        (np.ones(shape) + 0j, TypeError),
    ]:
        b.grad = bad
        with pytest.raises(error, match=f"^{name}: parameter 1 of group 0.*backward"):
            optimizer.step()
        assert equal(after, snapshot(optimizer))
    for value in (np.nan, np.inf):
        b.grad = np.ones(shape)
        b.grad[1, 2] = value
        message = rf"^{name}: the grad of parameter 1 of group 0.*{value} at index \(1, 2\)"
        with detect_anomaly(), pytest.raises(RuntimeError, match=message):
            optimizer.step()
        assert equal(after, snapshot(optimizer))
    b.grad = np.full(shape, np.nan)
    optimizer.step()
    assert np.isnan(b.data).all() and np.isfinite(a.data).all()


def check_params(kind, good=(2, 3)) -> None:
    """Which parameters are refused, by name, and that generators and later groups are taken."""
    p, name = leaf(np.ones(good)), kind.__name__
    unknown = [{"params": [p], "momentun": 0.9}]
    for params, error, hint in [
        ([], ValueError, "generator"),
        ((q for q in ()), ValueError, "generator"),
        ([{"params": []}], ValueError, "leave it out"),
        ([{"lr": 0.1}], ValueError, "params"),
        ([{"params": [p]}, p], TypeError, "only one kind"),
        (p, TypeError, "put it into a list"),
        (3, TypeError, "put it into a list"),
        ([np.ones(good)], TypeError, "wrap"),
        ([p, p], ValueError, "twice"),
        ([{"params": [p]}, {"params": p}], ValueError, "twice"),
        ([p * 2], ValueError, "leaf"),
        (unknown, ValueError, "unknown option 'momentun'.*lr"),
        ([{"params": [p], "lr": -1}], ValueError, "expected lr"),
    ]:
        with pytest.raises(error, match=f"^{name}: .*{hint}"):
            kind(params, lr=0.1)
    optimizer = kind((q for q in [p]), lr=0.1)
    for group in ({"params": p}, {"params": [leaf(np.ones(good))], "lr": np.nan}, {"lr": 1.0}):
        with pytest.raises(ValueError, match=f"^{name}: "):
            optimizer.add_param_group(group)
    assert len(optimizer.param_groups) == 1
    new, empty = leaf(np.ones(good)), leaf(np.ones((0, 3)))
    optimizer.add_param_group({"params": (q for q in [new, empty]), "lr": 0.3})
    for q in (p, new, empty):
        q.grad = np.ones(q.shape)
    optimizer.step()
    assert (p.data < 1).all() and (new.data < p.data).all() and empty.shape == (0, 3)
    assert [s["step"] for s in optimizer.state_dict()["state"].values()] == [1, 1, 1]
    optimizer.zero_grad()
    assert p.grad is None and new.grad is None


def check_foreign_states(make) -> None:
    """The state of another model or optimizer is refused with ValueError, and nothing changes."""
    params = with_gradients([(2, 3), (3, 4)], np.random.default_rng(0))
    optimizer = make(params)
    optimizer.step()
    before, good = snapshot(optimizer), optimizer.state_dict()
    name, first, (group,) = type(optimizer).__name__, good["state"][0], good["param_groups"]
    buffer = next(k for k in first if k != "step")

    def saved_by(other):
        other.step()
        return other.state_dict()

    def model(*shapes):
        return with_gradients(shapes, np.random.default_rng(1))

    foreign = {
        "no dict": 3,
        "empty": {},
        "fewer parameters": saved_by(make(model((2, 3)))),
        "more parameters": saved_by(make(model((2, 3), (3, 4), (1, 1)))),
        "two groups": saved_by(make([{"params": model((2, 3))}, {"params": model((3, 4))}])),
        "other shapes": saved_by(make(model((2, 3), (4, 3)))),
        "the second shape only": {**good, "state": {**good["state"], 1: first}},
        "another optimizer": saved_by(SGD(model((2, 3), (3, 4)), lr=0.1, momentum=0.9)),
        "bad rate": {**good, "param_groups": [{**group, "lr": -1.0}]},
        "missing state": {**good, "state": {0: {k: v for k, v in first.items() if k != buffer}}},
        "negative step": {**good, "state": {0: {**first, "step": -1}}},
        "no numbers": {**good, "state": {0: {**first, buffer: np.full((2, 3), "a")}}},
        "a state too many": {**good, "state": {2: first}},
    }
    for what, state in foreign.items():
        with pytest.raises(ValueError):
            optimizer.load_state_dict(state)
        assert equal(before, snapshot(optimizer)), what
    with pytest.raises(ValueError, match=f"^{name}"):
        optimizer.load_state_dict(foreign["other shapes"])
    optimizer.load_state_dict(good)
    assert equal(before, snapshot(optimizer))


def bad_numbers(name: str) -> list:
    """(option, bad value, error) for an option that is a finite number of at least 0."""
    nan, infinity = float("nan"), float("inf")
    return [(name, x, ValueError) for x in (-0.1, nan, infinity, np.float32(-1))] + [
        (name, x, TypeError) for x in ("0.1", None, True, 1j, [0.1], np.ones(2))
    ]


def bad_flags(name: str) -> list:
    return [(name, x, TypeError) for x in (1, 0.0, None, "True")]


def bad_betas() -> list:
    nan = float("nan")
    wrong = [0.9, None, (), (0.9,), (0.9, 0.9, 0.9), "0.9", (1.0, 0.9), (0.9, 1.0), (-0.1, 0.9), (0.9, nan)]
    return [("betas", x, ValueError) for x in wrong] + [("betas", ("0.9", 0.9), TypeError)]


def check_bad_option(kind, option, value, error) -> None:
    """In the constructor and in a group; the message names the optimizer, the option and what it should be."""
    options, p = {"lr": 0.1, option: value}, leaf(np.ones((2, 3)))
    message = rf"^{kind.__name__}: expected {option}(\[[01]\])? to be "
    if option != "exclude":
        with pytest.raises(error, match=message):
            kind([p], **options)
    with pytest.raises(error, match=message):
        kind([{"params": [p], **options}], lr=0.1)


def falling(optimizer, rates, steps: int):
    """Yield in each step, with the rates of all groups falling in a straight line to zero."""
    for t in range(steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (1 - t / steps)
        yield t


def rosenbrock(w):
    return ((1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2).sum()


def minimized(make, function, start, steps: int) -> Tensor:
    """Where `steps` steps on `function` lead, with a rate that falls to zero."""
    w = leaf(start)
    optimizer = make([w])
    for _ in falling(optimizer, [group["lr"] for group in optimizer.param_groups], steps):
        optimizer.zero_grad()
        function(w).backward()
        optimizer.step()
    return w


def adamw_literal(theta, gradients, lr, betas, eps, weight_decay, amsgrad):
    """Loshchilov & Hutter 2019, algorithm 2, line by line; AMSGrad with the maximum before the correction."""
    (b1, b2), m, v, largest = betas, 0 * theta, 0 * theta, 0 * theta
    for t, g in enumerate(gradients, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        largest = np.maximum(largest, v)
        m_hat, v_hat = m / (1 - b1**t), (largest if amsgrad else v) / (1 - b2**t)
        theta = theta - lr * (m_hat / (np.sqrt(v_hat) + eps) + weight_decay * theta)
    return theta


def random_problem(seed: int, kind: str = "AdamW"):
    return np.random.default_rng(1000 + seed), *problem(kind, 1000 + seed)


@PRECISIONS
def test_trajectories_are_those_of_pytorch(dtype, tolerance) -> None:
    check_trajectories("AdamW", dtype, tolerance)


@pytest.mark.parametrize("seed", range(40))
def test_the_rule_is_that_of_the_paper(seed) -> None:
    rng, starts, gradients = random_problem(seed)
    options = {
        "lr": 10 ** rng.uniform(-4, 0),
        "betas": (rng.uniform(0, 0.999), rng.uniform(0, 0.9999)),
        "eps": 10 ** rng.uniform(-8, 0),
        "weight_decay": rng.choice([0, rng.uniform(0, 1)]),
        "amsgrad": bool(seed % 2),
    }
    check_rule(AdamW, adamw_literal, options, starts, gradients)


def test_defaults_are_those_of_pytorch() -> None:
    options = {k: v for k, v in AdamW([leaf(1.0)]).param_groups[0].items() if k != "params"}
    expected = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-2, "amsgrad": False}
    assert options == {**expected, "state_dtype": None}


@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"state_dtype": np.float16}])
def test_a_state_resumes_bit_for_bit(options) -> None:
    for dtype in (np.float32, np.float64, np.float16):
        check_resumes(
            lambda groups, lr=0.1: AdamW(groups, lr, weight_decay=0.1, **options),
            [(), (3, 2), (BLOCK + 3,), (0, 4), (5,)],
            dtype,
        )


def test_without_decay_it_is_adam_bit_for_bit() -> None:
    params = with_gradients([(), (3,), (4, 5)], np.random.default_rng(0))
    others = [leaf(p.data) for p in params]
    one, two = AdamW(params, 0.1, weight_decay=0), Adam(others, 0.1)
    for _ in range(4):
        set_gradients(others, [p.grad for p in params])
        one.step()
        two.step()
    assert all(np.array_equal(p.data, q.data) for p, q in zip(params, others, strict=True))


def test_the_decay_is_decoupled() -> None:
    """Where the gradient is zero, only the decay moves; the moments never see it; it follows the rate of its group."""
    p, q = leaf([3.0, -5.0]), leaf([3.0, -5.0])
    optimizer = AdamW([{"params": [p]}, {"params": [q], "weight_decay": 0.0}], 0.5, weight_decay=0.4)
    expected = p.data.copy()
    for lr in (0.5, 0.1, 0.0):
        optimizer.param_groups[0]["lr"] = lr
        set_gradients([p, q], [np.zeros(2), np.zeros(2)])
        optimizer.step()
        expected *= 1 - lr * 0.4
        assert np.allclose(p.data, expected, rtol=1e-15) and np.array_equal(q.data, [3.0, -5.0])
    states = optimizer.state_dict()["state"]
    assert not any(states[i][k].any() for i in (0, 1) for k in ("exp_avg", "exp_avg_sq"))
    assert optimizer.param_groups[0]["weight_decay"] == 0.4


@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"weight_decay": 0.1}, {"state_dtype": np.float16}])
def test_converges_on_a_badly_conditioned_quadratic(options) -> None:
    curvatures = np.array([1.0, 1e3])
    w = minimized(lambda p: AdamW(p, 0.05, **options), lambda w: (w * w * curvatures).sum() / 2, [1.0, 1.0], 800)
    assert abs(w.data).max() < 1e-3


@pytest.mark.parametrize("amsgrad", [False, True])
def test_converges_on_rosenbrock(amsgrad) -> None:
    w = minimized(lambda p: AdamW(p, 0.3, weight_decay=0, amsgrad=amsgrad), rosenbrock, [-1.2, 1.0], 2000)
    assert abs(w.data - 1).max() < 1e-2
    pulled = minimized(lambda p: AdamW(p, 0.3, weight_decay=1.0), rosenbrock, [-1.2, 1.0], 500)
    assert np.linalg.norm(pulled.data) < 0.9 * np.sqrt(2)  # the decay pulls away from the minimum


@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"state_dtype": np.float16}, {"weight_decay": 0.1}])
def test_learns_the_digits(options) -> None:
    accuracies = [digits_loss(seed, AdamW, epochs=5, lr=0.01, **options)[1] for seed in range(3)]
    assert np.mean(accuracies) > 0.97


@pytest.mark.parametrize("seed", range(5))
def test_float16_states_train_like_float32(seed) -> None:
    full, packed = (digits_loss(seed, AdamW, lr=0.005, state_dtype=dtype)[0] for dtype in (None, np.float16))
    assert abs(packed / full - 1) < 0.05


def test_new_data_and_loaded_states_between_steps() -> None:
    for shape in [(), (3,), (2, 3)]:
        check_data_and_states_between_steps(lambda p: AdamW(p, 0.1), shape)


@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"weight_decay": 0}])
def test_a_step_allocates_nothing_that_grows(options) -> None:
    check_memory(lambda p: AdamW(p, **options), [(BLOCK,), (8 * BLOCK,)])


def test_memory_of_every_order() -> None:
    check_order(lambda p: AdamW(p, 0.1, amsgrad=True))


def test_gradients_missing_wrong_and_nan() -> None:
    check_gradients(lambda p: AdamW(p, 0.1))


def test_parameters() -> None:
    check_params(AdamW)


def test_states_of_other_models_are_refused() -> None:
    check_foreign_states(lambda p: AdamW(p, 0.1))
    optimizer = AdamW([leaf([1.0])], amsgrad=True)
    state = copy.deepcopy(optimizer.state_dict())
    state["state"] = {0: {"step": 1, "exp_avg": np.zeros(1), "exp_avg_sq": np.zeros(1)}}
    with pytest.raises(ValueError, match=r"^AdamW\.load_state_dict.*max_exp_avg_sq.*other options"):
        optimizer.load_state_dict(state)


BAD = [
    *bad_numbers("lr"), *bad_numbers("eps"), *bad_numbers("weight_decay"), *bad_betas(), *bad_flags("amsgrad"),
    *[("state_dtype", x, ValueError) for x in (np.int8, np.float32, "half a float", 16)],
]  # fmt: skip


@pytest.mark.parametrize(("option", "value", "error"), BAD, ids=repr)
def test_bad_options_are_named(option, value, error) -> None:
    check_bad_option(AdamW, option, value, error)

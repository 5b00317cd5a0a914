"""LARS against Optax and against the paper, and the norm that it rests on."""

import numpy as np
import pytest

from odyssey.optim import LARS
from odyssey.optim.lars import norm, trust_ratio
from odyssey.optim.sgd import BLOCK
from tests.optim.test_adam import digits_loss
from tests.optim.test_adamw import (
    PRECISIONS,
    bad_flags,
    bad_numbers,
    check_bad_option,
    check_data_and_states_between_steps,
    check_foreign_states,
    check_gradients,
    check_memory,
    check_order,
    check_params,
    check_resumes,
    check_rule,
    check_trajectories,
    minimized,
    random_problem,
    rosenbrock,
    set_gradients,
)
from tests.optim.test_sgd import leaf, with_gradients


def lars_literal(w, gradients, lr, momentum, weight_decay, trust_coefficient, eps, nesterov, exclude):
    """You et al. 2017, algorithm 1, with the ratio of equation 6; Nesterov's momentum as in Optax."""
    v = 0 * w
    for g in gradients:
        w_norm, g_norm, decay = np.sqrt((w**2).sum()), np.sqrt((g**2).sum()), weight_decay
        ratio = 1.0
        if exclude:
            decay = 0.0
        elif w_norm > 0 and g_norm > 0:
            ratio = trust_coefficient * w_norm / (g_norm + weight_decay * w_norm + eps)
        new = lr * ratio * (g + decay * w)
        v = momentum * v + new
        w = w - (new + momentum * v if nesterov else v)
    return w


@PRECISIONS
def test_trajectories_are_those_of_optax(dtype, tolerance) -> None:
    check_trajectories("LARS", dtype, tolerance)


@pytest.mark.parametrize("seed", range(40))
def test_the_rule_is_that_of_the_paper(seed) -> None:
    rng, starts, gradients = random_problem(seed, "LARS")
    options = {
        "lr": 10 ** rng.uniform(-2, 0.5),
        "momentum": rng.choice([0, rng.uniform(0, 0.99)]),
        "weight_decay": rng.choice([0, rng.uniform(0, 1)]),
        "trust_coefficient": 10 ** rng.uniform(-3, -1),
        "eps": rng.choice([0, 10 ** rng.uniform(-8, 0)]),
        "nesterov": bool(seed % 2),
        "exclude": seed % 4 > 2,
    }

    def make(params, exclude, **others):
        return LARS([{"params": params, "exclude": exclude}], **others)

    check_rule(make, lars_literal, options, starts, gradients)


def test_defaults() -> None:
    options = {k: v for k, v in LARS([leaf(1.0)], 0.1).param_groups[0].items() if k != "params"}
    expected = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0, "trust_coefficient": 1e-3, "eps": 0, "nesterov": False}
    assert options == {**expected, "exclude": False}


def test_an_excluded_group_has_ratio_one_and_no_decay() -> None:
    weights, bias = with_gradients([(3, 2), (2,)], np.random.default_rng(0))
    w, b = weights.data.copy(), bias.data.copy()
    groups = [{"params": [weights]}, {"params": [bias], "exclude": True, "lr": 0.5}]
    LARS(groups, lr=2.0, weight_decay=0.1).step()
    assert np.allclose(bias.data, b - 0.5 * bias.grad, rtol=1e-15)
    ratio = 1e-3 * np.linalg.norm(w) / (np.linalg.norm(weights.grad) + 0.1 * np.linalg.norm(w))
    assert np.allclose(weights.data, w - 2 * ratio * (weights.grad + 0.1 * w), rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_zero_weights_and_zero_gradients_have_ratio_one(dtype) -> None:
    zero, still, both, scalar = params = [leaf(x, dtype) for x in (np.zeros(3), np.ones(3), np.zeros(3), 0.0)]
    optimizer = LARS(params, lr=0.5, momentum=0, weight_decay=0.25)
    set_gradients(params, [np.ones(3), np.zeros(3), np.zeros(3), 2.0])
    optimizer.step()
    assert np.all(zero.data == -0.5) and np.all(still.data == 1 - 0.5 * 0.25)
    assert np.all(both.data == 0) and scalar.data == -1 and scalar.shape == ()
    assert trust_ratio(np.zeros(2), np.ones(2), 0.1, 0.1, 0.1) == 1 == trust_ratio(np.ones(2), np.zeros(2), 0.1, 0.1, 0)


@pytest.mark.parametrize("size", [1e-30, 1e-15, 1.0, 1e15, 1e30])
def test_the_step_does_not_depend_on_the_size_of_the_gradient(size) -> None:
    rng = np.random.default_rng(0)
    w, g = rng.standard_normal(200).astype(np.float32), rng.standard_normal(200).astype(np.float32)
    for p_size, nesterov in [(1, False), (1, True), (1e-6, False), (1e6, True)]:
        p = leaf(w * np.float32(p_size), np.float32)
        start = p.data.astype(float)
        optimizer = LARS([p], lr=1.0, momentum=0.5, trust_coefficient=0.1, nesterov=nesterov)
        for _ in range(2):
            p.grad = g * np.float32(size)
            optimizer.step()
        options = {"momentum": 0.5, "weight_decay": 0, "trust_coefficient": 0.1, "eps": 0, "exclude": False}
        expected = lars_literal(start, [g.astype(float)] * 2, 1.0, nesterov=nesterov, **options)
        np.testing.assert_allclose(p.data, expected, rtol=0, atol=2e-6 * p_size)


@pytest.mark.parametrize("size", [1e-37, 1e-30, 1e30, 1e36])
def test_weights_may_be_huge_and_tiny(size) -> None:
    rng = np.random.default_rng(0)
    w, g = rng.standard_normal((2, 50)).astype(np.float32) * np.float32([[size], [1]])
    p = leaf(w, np.float32)
    p.grad = g
    LARS([p], lr=1.0, trust_coefficient=0.1).step()
    u, v = w.astype(float), g.astype(float)
    expected = u - 0.1 * np.linalg.norm(u / size) / np.linalg.norm(v) * size * v
    np.testing.assert_allclose(p.data / size, expected / size, rtol=0, atol=2e-6)


@pytest.mark.parametrize("value", [1e-38, 1e-30, 1e-15, 0.1, 1e15, 1e30, 3e38])
@pytest.mark.parametrize("size", [1, 1000, 2053, 3 * BLOCK + 17])  # 2053 is prime: rows and a rest
def test_norm_of_float32_neither_overflows_nor_vanishes(value, size) -> None:
    x = np.full(size, value, np.float32)
    assert norm(x) == pytest.approx(float(x[0]) * np.sqrt(size), rel=5e-5) and type(norm(x)) is float


def test_norm_of_anything() -> None:
    rng = np.random.default_rng(0)
    for shape in [(), (1,), (7,), (3, 4), (2, 3, 4), (BLOCK + 1,)]:
        x = rng.standard_normal(shape)
        assert norm(x) == pytest.approx(np.sqrt((x**2).sum()), rel=1e-13)
    assert norm(np.zeros((3, 2), np.float32)) == 0 == norm(np.zeros((0, 3)))
    mixed = np.concatenate([np.full(BLOCK, 1e-30), np.full(BLOCK, 1e30), np.zeros(5)]).astype(np.float32)
    assert norm(mixed) == pytest.approx(1e30 * np.sqrt(BLOCK), rel=5e-5)
    assert norm(np.array([[1e30, 1e-30], [0, 1]], np.float32)) == pytest.approx(1e30, rel=1e-6)
    assert norm(np.array([1.0, np.inf], np.float32)) == np.inf and np.isnan(norm(np.array([1.0, np.nan])))
    many = np.full(10_000_000, 0.1, np.float32)  # one sum over all of them is off by 4e-4 or more
    assert norm(many) == pytest.approx(float(many[0]) * np.sqrt(many.size), rel=5e-5)


def test_norm_of_several_dtypes_in_turn() -> None:
    """The sums of rows wait in an array of the dtype of their rows."""
    rng = np.random.default_rng(0)
    dtypes = [np.float64, np.float32, np.float32, np.float16, np.longdouble, np.float64, np.float32]
    shapes = [(BLOCK,), (3, 1000), (2 * BLOCK + 1,), (50, 60), (BLOCK,), (4, BLOCK), (BLOCK // 2, 2)]
    arrays = [rng.standard_normal(shape).astype(dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
    expected = np.sqrt(sum((x.astype(np.float64) ** 2).sum() for x in arrays))
    assert norm(*arrays) == pytest.approx(expected, rel=1e-6)
    for x in arrays:
        assert norm(x) == pytest.approx(np.sqrt((x.astype(np.float64) ** 2).sum()), rel=1e-6)


@pytest.mark.parametrize("nesterov", [False, True])
def test_converges_on_a_badly_conditioned_quadratic(nesterov) -> None:
    def make(p):
        return LARS(p, lr=1.0, trust_coefficient=0.02, nesterov=nesterov)

    w = minimized(make, lambda w: (w * w * np.array([1.0, 100.0])).sum() / 2, [1.0, 1.0], 2000)
    assert abs(w.data).max() < 1e-3


@pytest.mark.parametrize("nesterov", [False, True])
def test_converges_on_rosenbrock(nesterov) -> None:
    w = minimized(lambda p: LARS(p, 1.0, trust_coefficient=0.01, nesterov=nesterov), rosenbrock, [-1.2, 1.0], 3000)
    assert abs(w.data - 1).max() < 2e-2


@pytest.mark.parametrize("options", [{}, {"weight_decay": 1e-3}, {"nesterov": True}])
def test_learns_the_digits(options) -> None:
    def make(params, **options):
        return LARS([{"params": params[::2]}, {"params": params[1::2], "exclude": True, "lr": 0.02}], **options)

    runs = [digits_loss(s, make, epochs=5, lr=1.0, trust_coefficient=0.003, **options) for s in range(3)]
    assert np.mean([accuracy for _, accuracy in runs]) > 0.955


def test_a_state_resumes_bit_for_bit() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        check_resumes(
            lambda groups, lr=0.1: LARS(groups, lr, weight_decay=0.1, trust_coefficient=0.1),
            [(), (3, 2), (BLOCK + 3,), (0, 4), (5,)],
            dtype,
        )


def test_the_state_remembers_who_is_excluded() -> None:
    params = with_gradients([(3, 2), (2,)], np.random.default_rng(0))
    optimizer = LARS([{"params": params[0]}, {"params": params[1], "exclude": True}], 0.1)
    optimizer.step()
    resumed = LARS([{"params": leaf(p.data)} for p in params], 0.1)
    resumed.load_state_dict(optimizer.state_dict())
    assert [g["exclude"] for g in resumed.param_groups] == [False, True]


def test_new_data_and_loaded_states_between_steps() -> None:
    for shape in [(), (3,), (2, 3)]:
        check_data_and_states_between_steps(lambda p: LARS(p, 0.1, trust_coefficient=0.1), shape)


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1, "nesterov": True}])
def test_a_step_allocates_nothing_that_grows(options) -> None:
    check_memory(lambda p: LARS(p, 0.1, **options), [(BLOCK,), (8 * BLOCK,), (1024, 500)])


def test_a_step_on_zeros_allocates_one_block() -> None:
    """The norm of very small numbers is taken in float64, block by block."""

    def make(params):
        for p in params:
            p.grad = np.zeros_like(p.data)
        return LARS(params, 0.1)

    check_memory(make, [(16 * BLOCK,)], limit=2 * 8 * BLOCK + 20_000)


def test_memory_of_every_order() -> None:
    check_order(lambda p: LARS(p, 0.1, weight_decay=0.1, trust_coefficient=0.1))


def test_gradients_missing_wrong_and_nan() -> None:
    check_gradients(lambda p: LARS(p, 0.1))


def test_parameters() -> None:
    check_params(LARS)


def test_states_of_other_models_are_refused() -> None:
    check_foreign_states(lambda p: LARS(p, 0.1))


BAD = [
    x for name in ("lr", "momentum", "weight_decay", "trust_coefficient", "eps") for x in bad_numbers(name)
] + [x for name in ("nesterov", "exclude") for x in bad_flags(name)]  # fmt: skip


@pytest.mark.parametrize(("option", "value", "error"), BAD, ids=repr)
def test_bad_options_are_named(option, value, error) -> None:
    check_bad_option(LARS, option, value, error)


def test_a_vanishing_gradient_makes_no_nan() -> None:
    p = leaf([1000.0, 1.0], np.float32)
    p.grad = np.array([1e-40, 0.0], np.float32)
    LARS([p], lr=1.0).step()
    assert np.isfinite(p.data).all() and p.data[1] == 1.0

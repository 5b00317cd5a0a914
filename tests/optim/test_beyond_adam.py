"""Lion and LAMB against Optax, Muon against PyTorch, and all three against their papers."""

import numpy as np
import pytest

from odyssey.optim import LAMB, AdamW, Lion, Muon
from odyssey.optim.beyond_adam import QUINTIC, orthogonalize
from odyssey.optim.sgd import BLOCK
from tests.optim.test_adam import digits_loss
from tests.optim.test_adamw import (
    PRECISIONS,
    bad_betas,
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
from tests.optim.test_sgd import leaf

KINDS = {
    "Lion": lambda params, lr=0.1: Lion(params, lr, weight_decay=0.1),
    "LAMB": lambda params, lr=0.1: LAMB(params, lr, weight_decay=0.1),
    "Muon": lambda params, lr=0.1: Muon(params, lr, weight_decay=0.1),
}
EACH = pytest.mark.parametrize("kind", KINDS)


def lion_literal(theta, gradients, lr, betas, weight_decay):
    """Chen et al. 2023, algorithm 2, line by line."""
    (b1, b2), m = betas, 0 * theta
    for g in gradients:
        c = b1 * m + (1 - b1) * g
        theta = theta - lr * (np.sign(c) + weight_decay * theta)
        m = b2 * m + (1 - b2) * g
    return theta


def lamb_literal(x, gradients, lr, betas, eps, weight_decay):
    """You et al. 2020, algorithm 2, with the identity for φ and ratio 1 where a norm is zero."""
    (b1, b2), m, v = betas, 0 * x, 0 * x
    for t, g in enumerate(gradients, start=1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        r = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        x_norm, u_norm = np.sqrt((x**2).sum()), np.sqrt(((r + weight_decay * x) ** 2).sum())
        x = x - lr * (x_norm / u_norm if x_norm > 0 and u_norm > 0 else 1) * (r + weight_decay * x)
    return x


def polar(x, steps):
    """What Newton–Schulz does, by another way: the singular values, and the quintic on each of these numbers."""
    U, s, Vt = np.linalg.svd(x, full_matrices=False)
    s = s / max(np.sqrt((s**2).sum()), 1e-7)
    a, b, c = QUINTIC
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    return (U * s) @ Vt


def muon_literal(W, gradients, lr, momentum, nesterov, weight_decay, ns_steps):
    """Jordan et al. 2024, with the running mean, the decay and the factor of PyTorch."""
    B = 0 * W
    for G in gradients:
        B = momentum * B + (1 - momentum) * G
        O = polar(momentum * B + (1 - momentum) * G if nesterov else B, ns_steps)
        W = W - lr * weight_decay * W - lr * max(1, W.shape[0] / W.shape[1]) ** 0.5 * O
    return W


@EACH
@PRECISIONS
def test_trajectories_are_those_of_the_reference(kind, dtype, tolerance) -> None:
    check_trajectories(kind, dtype, tolerance)


@pytest.mark.parametrize("seed", range(40))
def test_the_rules_are_those_of_the_papers(seed) -> None:
    rng, starts, gradients = random_problem(seed)
    common = {"lr": 10 ** rng.uniform(-4, 0), "weight_decay": rng.choice([0, rng.uniform(0, 1)])}
    betas = {"betas": (rng.uniform(0, 0.999), rng.uniform(0, 0.9999))}
    check_rule(Lion, lion_literal, {**common, **betas}, starts, gradients)
    check_rule(LAMB, lamb_literal, {**common, **betas, "eps": 10 ** rng.uniform(-8, 0)}, starts, gradients)
    rng, starts, gradients = random_problem(seed, "Muon")
    momentum = {"momentum": rng.uniform(0, 0.99), "nesterov": bool(seed % 2), "ns_steps": int(rng.integers(1, 7))}
    check_rule(Muon, muon_literal, {**common, **momentum}, starts, gradients, tolerance=1e-9)


def test_defaults() -> None:
    def options(optimizer):
        return {k: v for k, v in optimizer.param_groups[0].items() if k != "params"}

    assert options(Lion([leaf(1.0)])) == {"lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 0}
    assert options(LAMB([leaf(1.0)])) == {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-6, "weight_decay": 0}
    muon = {"lr": 0.1, "momentum": 0.95, "nesterov": True, "weight_decay": 0, "ns_steps": 5}
    assert options(Muon([leaf([[1.0]])], 0.1)) == muon


def test_every_parameter_of_lion_moves_by_the_rate() -> None:
    rng = np.random.default_rng(0)
    p, still = leaf(np.zeros(100)), leaf(np.zeros(3))
    optimizer = Lion([p, still], 0.25)
    for _ in range(5):
        before = p.data.copy()
        set_gradients([p, still], [rng.standard_normal(100) * 10.0 ** rng.uniform(-30, 30, 100), np.zeros(3)])
        optimizer.step()
        assert np.all(abs(p.data - before) == 0.25) and not still.data.any()


def test_zero_weights_and_zero_steps_of_lamb_have_ratio_one() -> None:
    zero, still, scalar = params = [leaf(np.zeros(3)), leaf(np.ones(3)), leaf(0.0)]
    optimizer = LAMB(params, 0.5, eps=0.0)
    set_gradients(params, [np.full(3, 7.0), np.ones(3), -2.0])
    optimizer.step()
    assert np.allclose(zero.data, -0.5) and np.allclose(still.data, 0.5)
    assert np.allclose(scalar.data, 0.5) and scalar.shape == ()
    p, q = leaf(np.ones(3)), leaf(np.zeros(3))
    optimizer = LAMB([p, q], 0.5)
    set_gradients([p, q], [np.zeros(3), np.zeros(3)])
    optimizer.step()
    assert np.all(p.data == 1) and np.all(q.data == 0)


@pytest.mark.parametrize("size", [1e-37, 1e-30, 1e-15, 1e15, 1e30, 1e36])
def test_weights_of_lamb_may_be_huge_and_tiny(size) -> None:
    """A step is as long as lr times the weights, whatever their size."""
    rng = np.random.default_rng(0)
    w, g = rng.standard_normal((2, 50)).astype(np.float32)
    p = leaf(w * np.float32(size), np.float32)
    optimizer = LAMB([p], 0.1)
    for _ in range(3):
        p.grad = g
        optimizer.step()
    expected = lamb_literal(w.astype(float), [g.astype(float)] * 3, 0.1, (0.9, 0.999), 1e-6, 0)
    np.testing.assert_allclose(p.data / np.float64(size), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("size", [1e-15, 1.0, 1e15])
def test_the_step_of_lamb_does_not_depend_on_the_size_of_the_gradient(size) -> None:
    rng = np.random.default_rng(0)
    w, g = rng.standard_normal((2, 50)).astype(np.float32)
    p = leaf(w, np.float32)
    p.grad = g * np.float32(size)
    LAMB([p], 0.1, eps=0.0).step()
    expected = w - 0.1 * np.linalg.norm(w) / np.sqrt(50) * np.sign(g)
    np.testing.assert_allclose(p.data, expected, rtol=0, atol=1e-5)


MATRIX_SHAPES = [(1, 1), (1, 9), (9, 1), (4, 4), (3, 8), (8, 3), (40, 7), (7, 40)]


@pytest.mark.parametrize("shape", MATRIX_SHAPES)
def test_the_step_of_muon_is_near_an_orthogonal_matrix(shape) -> None:
    """Its singular values lie near 1, its singular vectors are those of the gradient."""
    rng = np.random.default_rng(0)
    U, _, Vt = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    n = min(shape)
    gradient = (U * np.geomspace(1, 0.01, n)) @ Vt
    p = leaf(np.zeros(shape))
    p.grad = gradient.copy()
    Muon([p], lr=0.5).step()
    inner = U.T @ (-p.data / (0.5 * max(1, shape[0] / shape[1]) ** 0.5)) @ Vt.T
    values = np.diag(inner)
    assert np.allclose(inner, np.diag(values), atol=1e-10) and values.min() > 0.65 and values.max() < 1.25
    assert np.allclose(p.data, -0.5 * max(1, shape[0] / shape[1]) ** 0.5 * polar(gradient, 5), atol=1e-12)


def test_a_transposed_problem_takes_transposed_steps() -> None:
    rng = np.random.default_rng(0)
    for shape in MATRIX_SHAPES:
        start = rng.standard_normal(shape)
        p, q = leaf(start), leaf(start.T)
        one, two = Muon([p], 0.1), Muon([q], 0.1)
        for _ in range(3):
            p.grad = rng.standard_normal(shape)
            q.grad = p.grad.T
            one.step()
            two.step()
        factor = max(1, shape[0] / shape[1]) ** 0.5 / max(1, shape[1] / shape[0]) ** 0.5
        np.testing.assert_allclose(p.data - start, factor * (q.data - start.T).T, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_gradient_of_zeros_leaves_only_the_decay_of_muon(dtype) -> None:
    params = [leaf(np.ones(shape), dtype) for shape in [(3, 2), (2, 3), (1, 1), (0, 3), (3, 0)]]
    optimizer = Muon(params, 0.5, weight_decay=0.5)
    for step in range(1, 3):
        set_gradients(params, [np.zeros(p.shape) for p in params])
        optimizer.step()
        assert all(np.all(p.data == 0.75**step) and p.dtype == dtype for p in params)
    x = np.zeros((2, 3))
    orthogonalize(x, 5, [np.empty((2, 3)) for _ in range(3)])
    assert not x.any()


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1e3, 1e15, 1e30])
def test_the_step_of_muon_does_not_depend_on_the_size_of_the_gradient(size) -> None:
    g = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    p = leaf(np.zeros((5, 8)), np.float32)
    p.grad = g * np.float32(size)
    Muon([p], 1.0, momentum=0.0).step()
    np.testing.assert_allclose(p.data, -polar(g.astype(float), 5), rtol=0, atol=2e-5)


def test_vanishing_gradients_of_muon_stay_small() -> None:
    """Below a norm of 1e-7 the numbers are divided by 1e-7, as in PyTorch: noise is not made a step of full length."""
    for size in (1e-30, 1e-45):
        p = leaf(np.zeros((3, 4)), np.float32)
        p.grad = np.full((3, 4), size, np.float32)
        Muon([p], 1.0).step()
        assert np.isfinite(p.data).all() and abs(p.data).max() < 1e-19


def test_muon_refuses_what_is_no_matrix() -> None:
    matrix = leaf(np.ones((2, 2)))
    for shape in [(), (3,), (0,), (2, 3, 4), (1, 1, 1, 1)]:
        with pytest.raises(ValueError, match=r"^Muon: parameter 1 has shape \(.*expected a matrix.*AdamW"):
            Muon([matrix, leaf(np.ones(shape))], 0.1)
    optimizer = Muon([matrix], 0.1)
    with pytest.raises(ValueError, match=r"^Muon: parameter 0 has shape \(3,\)"):
        optimizer.add_param_group({"params": [leaf(np.ones(3))]})
    assert len(optimizer.param_groups) == 1


SPREAD = np.geomspace(1, 1000, 4)[:, None]
CONVERGING = {
    "Lion": lambda p: Lion(p, 0.01),
    "Lion with decay": lambda p: Lion(p, 0.01, weight_decay=0.1),
    "LAMB": lambda p: LAMB(p, 0.05),
    "Muon": lambda p: Muon(p, 0.05),
    "Muon without nesterov": lambda p: Muon(p, 0.05, nesterov=False),
}


@pytest.mark.parametrize("name", CONVERGING)
def test_converges_on_a_badly_conditioned_quadratic(name) -> None:
    start = np.random.default_rng(0).standard_normal((4, 3))
    w = minimized(CONVERGING[name], lambda w: (w * w * SPREAD).sum() / 2, start, 800)
    assert abs(w.data).max() < 1e-2


@pytest.mark.parametrize(
    ("make", "steps", "bound"),
    [
        (lambda p: Lion(p, 0.01), 2500, 2e-2),
        (lambda p: LAMB(p, 0.05), 2500, 2e-2),
        (lambda p: Muon(p, 0.02), 2500, 2e-2),
    ],
)
def test_converges_on_rosenbrock(make, steps, bound) -> None:
    """Three valleys at once, one in each column of a matrix."""
    w = minimized(make, rosenbrock, [[-1.2, 0.5, 2.0], [1.0, 2.0, -1.0]], steps)
    assert abs(w.data - 1).max() < bound


def test_muon_factors_a_matrix() -> None:
    rng = np.random.default_rng(0)
    target = rng.standard_normal((8, 2)) @ rng.standard_normal((2, 6))

    def loss(w):
        return ((w[:8] @ w[8:].T - target) ** 2).sum()

    w = minimized(lambda p: Muon(p, 0.05), loss, 0.1 * rng.standard_normal((14, 2)), 300)
    assert loss(w).item() < 1e-3 * (target**2).sum()


class Both:
    """Muon for the matrices, AdamW for the biases."""

    def __init__(self, params, lr, **options) -> None:
        self.parts = Muon(params[::2], lr, **options), AdamW(params[1::2], 0.01)

    def zero_grad(self) -> None:
        for part in self.parts:
            part.zero_grad()

    def step(self) -> None:
        for part in self.parts:
            part.step()


@pytest.mark.parametrize(
    ("kind", "options", "bound"),
    [
        (Lion, {"lr": 0.003}, 0.96),
        (Lion, {"lr": 0.003, "weight_decay": 0.1}, 0.96),
        (LAMB, {"lr": 0.01}, 0.955),
        (LAMB, {"lr": 0.01, "weight_decay": 0.1}, 0.955),
        (Both, {"lr": 0.02}, 0.985),
        (Both, {"lr": 0.02, "nesterov": False, "weight_decay": 0.1}, 0.985),
    ],
)
def test_learns_the_digits(kind, options, bound) -> None:
    accuracies = [digits_loss(seed, kind, epochs=5, **options)[1] for seed in range(3)]
    assert np.mean(accuracies) > bound, accuracies


SHAPES = {
    "Lion": [(), (3, 2), (BLOCK + 3,), (0, 4), (5,)],
    "LAMB": [(), (3, 2), (BLOCK + 3,), (0, 4), (5,)],
    "Muon": [(4, 4), (3, 2), (300, 500), (0, 4), (1, 7)],
}


@EACH
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_state_resumes_bit_for_bit(kind, dtype) -> None:
    check_resumes(KINDS[kind], SHAPES[kind], dtype)


@EACH
def test_new_data_and_loaded_states_between_steps(kind) -> None:
    for shape in [(2, 3), (3, 2)] if kind == "Muon" else [(), (3,), (2, 3)]:
        check_data_and_states_between_steps(KINDS[kind], shape)


@EACH
def test_a_step_allocates_nothing_that_grows(kind) -> None:
    """But 64 kB that NumPy takes to add a matrix to a transposed one, of any size."""
    if kind == "Muon":
        check_memory(KINDS[kind], [(64, 1024), (512, 256), (2000, 16), (1000, 500)], limit=90_000)
    else:
        check_memory(KINDS[kind], [(BLOCK,), (8 * BLOCK,)])


@EACH
def test_memory_of_every_order(kind) -> None:
    check_order(KINDS[kind])


@EACH
def test_gradients_missing_wrong_and_nan(kind) -> None:
    check_gradients(KINDS[kind])


@pytest.mark.parametrize("kind", [Lion, LAMB, Muon])
def test_parameters(kind) -> None:
    check_params(kind)


@EACH
def test_states_of_other_models_are_refused(kind) -> None:
    check_foreign_states(KINDS[kind])


BAD = {
    Lion: [*bad_numbers("lr"), *bad_numbers("weight_decay"), *bad_betas()],
    LAMB: [*bad_numbers("lr"), *bad_numbers("weight_decay"), *bad_numbers("eps"), *bad_betas()],
    Muon: [
        *bad_numbers("lr"), *bad_numbers("weight_decay"), *bad_numbers("momentum"), *bad_flags("nesterov"),
        *[("ns_steps", x, ValueError) for x in (0, -1)], *[("ns_steps", x, TypeError) for x in (5.0, True, None, "5")],
    ],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "option", "value", "error"), [(k, *x) for k in BAD for x in BAD[k]], ids=repr)
def test_bad_options_are_named(kind, option, value, error) -> None:
    check_bad_option(kind, option, value, error)


def test_new_data_that_is_no_matrix_is_named() -> None:
    p = leaf(np.ones((2, 2)))
    optimizer = Muon([p], lr=0.1)
    p.data = p.grad = np.ones(3)
    with pytest.raises(ValueError, match=r"parameter 0 has shape \(3,\), expected a matrix"):
        optimizer.step()

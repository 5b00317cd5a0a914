"""gradcheck: passes right gradients, condemns planted wrong ones and says where, and refuses what it cannot check."""

import itertools
import re

import numpy as np
import pytest

from odyssey import Tensor, gradcheck, no_grad, ops
from odyssey.autograd import primitive
from odyssey.autograd.gradcheck import DIRECTIONS, LARGE
from odyssey.autograd.tape.primitive import record
from odyssey.autograd.tape.tensor import PRIMITIVES

rng = np.random.default_rng(0)
X = rng.normal(size=(3, 4))
POSITIVE = rng.uniform(0.5, 2, size=(3, 4))
LARGE_X = rng.normal(size=(40, 50))


def with_vjp(forward, vjp):
    """An operation with the given gradient, right or wrong, that does not enter PRIMITIVES."""

    def operation(*inputs):
        arrays = [x.data for x in inputs]
        return record("planted", inputs, arrays, forward(*arrays), lambda g: vjp(g, *arrays))

    return operation


def spoil(index, change):
    """x*x whose gradient is changed at one index."""

    def vjp(g, x):
        wrong = g * 2 * x
        wrong[index] = change(wrong[index])
        return (wrong,)

    return with_vjp(lambda x: x * x, vjp)


def failure(f, *inputs, **options):
    with pytest.raises(AssertionError) as caught:
        gradcheck(f, *inputs, **options)
    return str(caught.value)


def numbers(message):
    found = re.search(r"the tape gives (\S+), central differences give ([^\s;]+)", message)
    return float(found[1]), float(found[2])


# ---- right gradients ----

RIGHT = {
    "exp": (ops.exp, X),
    "log": (ops.log, POSITIVE),
    "sqrt": (ops.sqrt, POSITIVE),
    "tanh": (ops.tanh, X),
    "sigmoid": (ops.sigmoid, X),
    "relu": (ops.relu, X),
    "abs": (ops.abs, X),
    "sin of a scalar": (ops.sin, 0.7),
    "power": (ops.power, POSITIVE, X),
    "divide, broadcast": (ops.divide, X, POSITIVE[:, :1]),
    "matmul": (ops.matmul, X, X.T),
    "max": (lambda x: ops.max(x, axis=1), X),
    "var": (lambda x: ops.var(x, axis=0), X),
    "logsumexp": (lambda x: ops.logsumexp(x, axis=1), X),
    "cumsum": (lambda x: ops.cumsum(x, axis=1), X),
    "indices that repeat": (lambda x: x[[0, 0, 2]], X),
    "concatenate": (lambda x, y: ops.concatenate([x, y]), X, POSITIVE),
    "fan-out": (lambda x: x * x + x * ops.exp(x), X),
    "a loss": (lambda x, w: ops.mean(ops.square(ops.tanh(x @ w))), X, X.T),
    "a constant": (lambda x: Tensor([1.0], dtype=np.float64), X),
    "unused second input": (lambda x, y: x * 2, X, POSITIVE),
    "a large input": (ops.square, LARGE_X),
    "many outputs of few inputs": (lambda x: ops.outer(x, np.ones(5000)), [1.0, 2.0]),
    "an empty input": (ops.exp, np.zeros((0, 3))),
    "an empty result": (lambda x: x[:0], X),
    "its own input": (lambda x: x, X),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_gradients_pass(name):
    f, *inputs = RIGHT[name]
    assert gradcheck(f, *inputs) is True


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e6])
def test_scaled_inputs_pass(scale):
    assert gradcheck(lambda x: ops.log(ops.square(x) + 1), X * scale)
    assert gradcheck(lambda x: ops.sin(x), X * scale)


def test_many_elements_that_do_not_change_leave_no_rounding_error():
    # Differences of the sum alone would be off by about u * 1e10 / eps = 1.
    huge = np.full(100, 1e8)
    assert gradcheck(lambda x: ops.concatenate([x, huge]), [1.0, 2.0])


def test_lists_arrays_scalars_and_tensors_are_accepted():
    for value in (0.5, [0.5], (0.5,), np.float64(0.5), np.array(0.5), Tensor(0.5), [[0.5, 1.5]], Tensor([0.5, 1.5])):
        assert gradcheck(ops.exp, value)


def test_integers_and_bools_are_passed_on_unchecked():
    seen = []

    def pick(x, rows, mask):
        seen.append((rows.dtype.kind, mask.dtype, rows.requires_grad))
        return ops.where(mask.data, x[rows.data], 0.0)

    assert gradcheck(pick, X, [2, 0, 2], [[True], [False], [True]])
    assert set(seen) == {("i", np.dtype(bool), False)}


# ---- wrong gradients ----


@pytest.mark.parametrize("index", list(np.ndindex(3, 4)))
def test_one_wrong_element_is_named_with_both_numbers(index):
    message = failure(lambda x: ops.sum(spoil(index, lambda g: 1.5 * g)(x)), X)
    assert message.startswith(f"gradcheck: input 0, index {index}: ")
    assert numbers(message) == pytest.approx((3 * X[index], 2 * X[index]), rel=1e-6)


def test_the_worst_element_is_named():
    def vjp(g, x):
        wrong = g * 1.0
        wrong[0, 1] += 0.1
        wrong[2, 3] -= 7.0
        wrong[1, 1] += 0.2
        return (wrong,)

    assert "index (2, 3)" in failure(with_vjp(lambda x: x + 1, vjp), X)


@pytest.mark.parametrize("guilty", [0, 1, 2])
def test_the_guilty_input_is_named(guilty):
    factors = [1.0, 1.0, 1.0]
    factors[guilty] = -1.0
    add = with_vjp(lambda x, y, z: x + y + z, lambda g, *_: tuple(factor * g for factor in factors))
    message = failure(add, X, X, X)
    assert message.startswith(f"gradcheck: input {guilty}, index ")
    tape, numeric = numbers(message)
    assert tape == pytest.approx(-numeric)


def test_integers_count_as_inputs_in_the_message():
    message = failure(lambda i, x: spoil((0, 0), lambda g: g + 1)(x), [1, 2], X)
    assert message.startswith("gradcheck: input 1, index (0, 0)")


def test_a_scalar_has_the_empty_index_and_its_own_slope():
    message = failure(with_vjp(np.exp, lambda g, x: (g * 2 * np.exp(x),)), 0.0)
    assert message.startswith("gradcheck: input 0, index (): ")
    assert numbers(message) == pytest.approx((2, 1))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("points", [X, LARGE_X], ids=["elements", "directions"])
def test_a_gradient_that_is_no_number_fails(wrong, points):
    message = failure(spoil((1, 2), lambda g: wrong), points)
    assert message.startswith(f"gradcheck: input 0, index (1, 2): the tape gives {wrong}")


@pytest.mark.parametrize("relative", [1e-1, 1e-2, 1e-3, 1e-4, 2e-5])
def test_a_wrong_factor_is_caught_down_to_the_tolerance(relative):
    scaled = with_vjp(np.tanh, lambda g, x: (g * (1 + relative) * (1 - np.tanh(x) ** 2),))
    failure(scaled, [0.3])
    assert gradcheck(scaled, [0.3], rtol=2 * relative)


def test_the_tolerance_is_absolute_plus_relative_to_the_difference():
    off = with_vjp(lambda x: 100 * x, lambda g, x: (g * (100 + 0.5),))
    assert gradcheck(off, 1.0, rtol=0.0, atol=0.51)
    failure(off, 1.0, rtol=0.0, atol=0.49)
    assert gradcheck(off, 1.0, rtol=0.0051, atol=0.0)
    failure(off, 1.0, rtol=0.0049, atol=0.0)


def test_a_gradient_lost_by_detach_fails():
    message = failure(lambda x: x.detach() * x, [3.0])
    assert numbers(message) == pytest.approx((3, 6))
    assert numbers(failure(lambda x: x.detach() * 2, [3.0])) == pytest.approx((0, 2))


def test_a_gradient_that_is_computed_under_no_grad_fails():
    def f(x):
        with no_grad():
            y = ops.exp(x)
        return y * x

    failure(f, X)


def standardize(x, vjp_terms):
    """Batch normalisation whose vjp has only some of its terms."""

    def vjp(g, x):
        centred = x - x.mean(axis=0)
        sigma = np.sqrt((centred**2).mean(axis=0))
        unit = centred / sigma
        terms = {"g": g, "mean": -g.mean(axis=0), "unit": -unit * (g * unit).mean(axis=0)}
        return (sum(terms[name] for name in vjp_terms) / sigma,)

    return with_vjp(lambda x: (x - x.mean(axis=0)) / x.std(axis=0), vjp)(x)


def test_a_normalisation_is_not_excused_by_its_degenerate_sum():
    assert gradcheck(lambda x: standardize(x, ["g", "mean", "unit"]), X)
    for missing in ("mean", "unit"):
        terms = [term for term in ("g", "mean", "unit") if term != missing]
        failure(lambda x, terms=terms: standardize(x, terms), X)
    # The two losses that people use instead of weights each overlook one of these bugs.
    assert gradcheck(lambda x: ops.sum(standardize(x, ["g", "mean"])), X)
    assert gradcheck(lambda x: ops.sum(ops.square(standardize(x, ["g", "unit"]))), X)


# ---- large inputs ----


@pytest.mark.parametrize("seed", range(10))
def test_a_single_wrong_element_of_a_large_input_is_always_found_and_named(seed):
    place = np.random.default_rng(seed)
    index = tuple(int(place.integers(n)) for n in LARGE_X.shape)
    norm = np.linalg.norm(2 * LARGE_X) * 2
    message = failure(spoil(index, lambda g: g + 2e-5 * norm), LARGE_X)
    assert message.startswith(f"gradcheck: input 0, index {index}: ")
    assert "; found along random direction 0: the tape gives " in message


def test_two_opposite_errors_that_cancel_in_some_directions_are_found():
    for i, j in itertools.combinations(range(8), 2):

        def vjp(g, x, i=i, j=j):
            wrong = g * 2 * x
            wrong[0, i] += 1.0
            wrong[0, j] -= 1.0
            return (wrong,)

        message = failure(with_vjp(lambda x: x * x, vjp), LARGE_X)
        assert re.search(rf"index \(0, ({i}|{j})\)", message)


def test_directions_miss_with_the_probability_that_the_chapter_derives():
    # k equal errors cancel in one direction with probability binomial(k, k/2) / 2**k, at most 1/2.
    signs = np.random.default_rng(5).choice([-1.0, 1.0], (20_000, 16))
    for k, expected in ((1, 0.0), (2, 1 / 2), (3, 0.0), (4, 3 / 8), (6, 5 / 16)):
        missed = np.mean(signs[:, :k].sum(axis=1) == 0)
        assert missed == pytest.approx(expected, abs=0.015)
    assert 0.5**DIRECTIONS < 1e-6


def test_elements_up_to_the_limit_directions_above_it():
    calls = []

    def count(x):
        calls.append(1)
        return x * 2

    gradcheck(count, np.ones(LARGE))
    assert len(calls) == 2 * LARGE + 2
    calls.clear()
    gradcheck(count, np.ones(LARGE + 1))
    assert len(calls) == 2 * DIRECTIONS + 2


# ---- kinks and rounding ----


def test_a_kink_is_reported_with_the_slopes_of_its_two_sides():
    message = failure(ops.relu, 0.0)
    assert numbers(message) == (0, 0.5)
    assert message.endswith("(0 to the left, 1 to the right: a kink or a jump? move the point)")
    assert gradcheck(ops.relu, 1e-3)


def test_a_kink_where_the_tape_gives_the_mean_of_both_slopes_passes():
    assert gradcheck(ops.abs, 0.0)
    assert gradcheck(lambda x: ops.maximum(x, 3 * x), 0.0)


def test_a_wrong_gradient_away_from_kinks_is_not_excused_as_one():
    assert "kink" not in failure(spoil((0, 0), lambda g: g * 1.001), X)


def test_a_failure_that_rounding_can_explain_says_so():
    message = failure(lambda x: ops.sum(x), [1e9, 1.0])
    assert "rounding alone makes errors of 0.1 here: choose smaller inputs, or a larger eps" in message
    assert gradcheck(lambda x: ops.sum(x), [1e9, 1.0], eps=10.0)


def test_float32_tensors_are_checked_in_float64():
    dtypes = set()

    def f(x):
        dtypes.add(x.dtype)
        return ops.tanh(x)

    assert gradcheck(f, Tensor(X.astype(np.float32)))
    assert gradcheck(f, X.astype(np.float16))
    assert dtypes == {np.dtype(np.float64)}


# ---- what it leaves alone ----


def test_inputs_and_their_gradients_are_untouched():
    array, tensor = X.copy(), Tensor(X.copy(), requires_grad=True)
    tensor.grad = np.full(X.shape, 7.0)
    assert gradcheck(ops.multiply, array, tensor)
    assert np.array_equal(array, X) and np.array_equal(tensor.data, X)
    assert np.array_equal(tensor.grad, np.full(X.shape, 7.0))
    assert tensor.requires_grad


def test_a_function_that_overwrites_its_input_cannot_disturb_the_point():
    original = X.copy()

    def f(x):
        y = x * 3
        x.data[...] = 0
        return y

    assert gradcheck(f, original)
    assert np.array_equal(original, X)


def test_the_same_call_gives_the_same_message():
    messages = {failure(spoil((3, 4), lambda g: 2 * g), LARGE_X) for _ in range(3)}
    assert len(messages) == 1


def test_the_global_generator_has_no_part_in_it():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    gradcheck(ops.square, LARGE_X)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_inside_no_grad_nothing_is_recorded_so_the_check_fails():
    with no_grad(), pytest.raises(AssertionError):
        gradcheck(ops.exp, X)


def test_the_table_of_primitives_is_untouched_by_this_file():
    assert "planted" not in PRIMITIVES


# ---- what cannot be checked ----


@pytest.mark.parametrize(
    "f, inputs, options, error, words",
    [
        (ops.exp, [X], {"eps": 0}, ValueError, "expected eps > 0, rtol >= 0, atol >= 0, got 0, "),
        (ops.exp, [X], {"eps": -1e-6}, ValueError, "expected eps > 0"),
        (ops.exp, [X], {"eps": np.nan}, ValueError, "expected eps > 0"),
        (ops.exp, [X], {"eps": np.inf}, ValueError, "expected eps > 0"),
        (ops.exp, [X], {"rtol": -1.0}, ValueError, "got 1e-06, -1.0, 1e-07"),
        (ops.exp, [X], {"atol": np.nan}, ValueError, "atol >= 0"),
        (ops.exp, [[1, 2]], {}, TypeError, "expected at least one float input, got none"),
        (ops.exp, [], {}, TypeError, "expected at least one float input, got none"),
        (ops.exp, ["abc"], {}, TypeError, "expected numbers as input 0, got dtype <U3"),
        (ops.multiply, [X, X + 0j], {}, TypeError, "expected numbers as input 1, got dtype complex128"),
        (ops.multiply, [X, [[np.nan]]], {}, ValueError, "input 1 has a NaN or an infinity"),
        (ops.exp, [[np.inf]], {}, ValueError, "input 0 has a NaN or an infinity"),
        (ops.exp, [[1.0, 1e12]], {}, ValueError, "input 0 has 1e+12, in which eps=1e-06 is lost"),
        (ops.sqrt, [[0.0]], {}, ValueError, "f gave a NaN or an infinity near the point"),
        (ops.log, [[1e-7]], {}, ValueError, "f gave a NaN or an infinity near the point"),
        (ops.log, [[-1.0]], {}, ValueError, "f gave a NaN or an infinity near the point"),
        (lambda x: x.data, [X], {}, TypeError, "must return a Tensor of float64 for float64 inputs, got ndarray"),
        (lambda x: 1.0, [X], {}, TypeError, "got float"),
        (lambda x: (x, x), [X], {}, TypeError, "got tuple"),
        (lambda x: Tensor([1]), [X], {}, TypeError, "got a Tensor of int64"),
        (with_vjp(lambda x: x.astype(np.float32), lambda g, x: (g.astype(float),)), [X], {}, TypeError, "of float32"),
        (lambda x: x[: int(x.data[0] > 0)], [[0.0]], {}, ValueError, "changes its shape, (0,) to (1,)"),
    ],
)
def test_what_cannot_be_checked_is_refused(f, inputs, options, error, words):
    with pytest.raises(error, match=re.escape(words)) as caught:
        gradcheck(f, *inputs, **options)
    assert str(caught.value).startswith("gradcheck: ")


def test_a_function_that_draws_random_numbers_is_refused():
    draws = np.random.default_rng(1)
    with pytest.raises(ValueError, match="f gave two results for the same inputs; give it a fixed seed and no state"):
        gradcheck(lambda x: x * (draws.random(x.shape) < 0.5), X)


def test_a_function_that_computes_something_else_while_recording_is_refused():
    with pytest.raises(ValueError, match="two results"):
        gradcheck(lambda x: x * 2 if (x * 1).requires_grad else x * 3, X)


def test_errors_of_the_function_itself_come_through():
    with pytest.raises(ValueError, match="matmul"):
        gradcheck(ops.matmul, X, X)
    with pytest.raises(ZeroDivisionError):
        gradcheck(lambda x: x * (1 / 0), X)


@pytest.mark.parametrize("power", [0, 2])
def test_a_rule_with_one_result_that_forgets_g_is_caught(power: int) -> None:
    """With g = 1 it would be invisible, so one number is weighted too, and its slopes are still its own."""
    try:

        @primitive()
        def forgetful_sum(x):
            return np.sum(x), lambda g: (g**power * np.ones_like(x),)

        with pytest.raises(AssertionError, match=r"central differences give 1\b"):
            gradcheck(forgetful_sum, [1.0, 2.0])
    finally:
        del PRIMITIVES["forgetful_sum"]

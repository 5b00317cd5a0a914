"""The exercises of the chapter gradcheck: solutions pass, stubs fail, and each known mistake gets its own hint."""

import json
from pathlib import Path

import numpy as np
import pytest

from odyssey.exercises import gradcheck as checks
from odyssey.exercises.gradcheck import (
    SUSPECTS,
    check_agree,
    check_complex_step,
    check_numeric_gradient,
    check_suspects,
)

NOTEBOOK = Path(__file__).parents[2] / "book" / "autograd" / "gradcheck.ipynb"
CHECKS = ("check_numeric_gradient", "check_agree", "check_complex_step", "check_suspects")


def cells():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def text(cell):
    return "".join(cell["source"])


def answers(check):
    """(code of the stub, code of the solution) of the exercise with this check."""
    found = [text(cell) for cell in cells() if cell["cell_type"] == "code" and f"{check}(" in text(cell)]
    assert len(found) == 2, f"{check} should be called in a stub and in a solution"
    return found


def run(code):
    """What the cell prints, in a namespace with what the chapter has defined by then."""
    namespace = {"np": np}
    if "verdict(" in code:
        from odyssey import gradcheck
        from odyssey.autograd import primitive
        from odyssey.autograd.tape.tensor import PRIMITIVES

        def verdict(f, *inputs):
            try:
                gradcheck(f, *inputs)
            except AssertionError as error:
                return str(error)

        before = dict(PRIMITIVES)
        namespace.update(verdict=verdict, primitive=primitive)
    exec("from odyssey.exercises.gradcheck import *\n" + code, namespace)
    if "verdict(" in code:  # the solution registers its suspects; other tests go through that table
        for name in set(PRIMITIVES) - set(before):
            del PRIMITIVES[name]
    return namespace


@pytest.mark.parametrize("check", CHECKS)
def test_the_solution_of_the_chapter_passes(check, capsys):
    run(answers(check)[1])
    assert capsys.readouterr().out.startswith("Correct: ")


@pytest.mark.parametrize("check", CHECKS)
def test_the_stub_of_the_chapter_fails_with_a_hint(check, capsys):
    run(answers(check)[0])
    assert "Not yet: " in capsys.readouterr().out


@pytest.mark.parametrize("check", CHECKS)
def test_the_stored_outputs_show_a_hint_and_then_praise(check):
    outputs = [
        "".join(line for output in cell["outputs"] for line in output.get("text", ""))
        for cell in cells()
        if cell["cell_type"] == "code" and f"{check}(" in text(cell)
    ]
    assert "Not yet: " in outputs[0] and "Correct: " in outputs[1]


def test_every_check_of_the_module_is_used():
    assert sorted(CHECKS) == sorted(name for name in vars(checks) if name.startswith("check_"))


def hint(check, answer, capsys):
    assert check(answer) is False
    out = capsys.readouterr().out
    assert out.startswith("Not yet: ")
    return out


# ---- complex step ----


def divided_by(h):
    return lambda f, x: f(x + 1j * h).imag / h


@pytest.mark.parametrize("h", [1e-30, 1e-100, 1e-200, 1e-20, 1e-9])
def test_every_tiny_complex_step_is_accepted(h):
    assert check_complex_step(divided_by(h)) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda f, x: (f(x + 1e-6) - f(x - 1e-6)) / 2e-6, "every argument of f was a real number"),
        (lambda f, x: f(x + 1e-30j).real, "that is the real part of f(x + 1j * h), hence f(x)"),
        (lambda f, x: f(x + 1e-30j).imag, "h times the slope; divide by h"),
        (lambda f, x: f(x + 1e-3j).imag / 1e-3, "h = 0.001 leaves a truncation error of h**2"),
        (lambda f, x: (f(x + 1e-30j) - f(x)) / 1e-30j, "the derivative of a real function is real"),
        (lambda f, x: 1.0, "f was never called"),
        (lambda f, x: None, "returns nothing"),
        (lambda f, x: 2 * f(x + 1e-30j).imag / 1e-30, "f'(0.5) = 0.877582561890373, you give 1.75516512378075"),
        (lambda f, x: undefined, "your code raised NameError"),  # noqa: F821
    ],
)
def test_mistakes_with_the_complex_step(answer, words, capsys):
    assert words in hint(check_complex_step, answer, capsys)


# ---- numeric gradient ----


def numeric(step_plus=1, step_minus=1, distance=2, copy=lambda x: np.array(x, dtype=float), restore=True):
    def answer(f, x, eps=1e-6):
        out = np.zeros(x.shape)
        kept = np.array(x, dtype=float)
        for index in np.ndindex(x.shape):
            plus, minus = copy(x if restore else kept), copy(x if restore else kept)
            plus[index] += step_plus * eps
            minus[index] -= step_minus * eps
            if not restore:
                kept = plus
            out[index] = (f(plus) - f(minus)) / (distance * eps)
        return out

    return answer


def alias_both(f, x, eps):
    out = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        x_plus, x_minus = x, x
        x_plus[index] += eps
        x_minus[index] -= eps
        out[index] = (f(x_plus) - f(x_minus)) / (2 * eps)
    return out


def alias_one_and_put_back(f, x, eps):
    out = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        x_plus, x_minus = x, x.copy()
        x_plus[index] += eps
        x_minus[index] -= eps
        out[index] = (f(x_plus) - f(x_minus)) / (2 * eps)
    return out


def copied_once(f, x, eps):
    out = np.zeros(x.shape)
    plus, minus = x.astype(float), x.astype(float)
    for index in np.ndindex(x.shape):
        plus[index] += eps
        minus[index] -= eps
        out[index] = (f(plus) - f(minus)) / (2 * eps)
    return out


def like_integers(f, x, eps):
    out = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        plus, minus = x.copy(), x.copy()
        plus[index] = plus[index] + eps
        minus[index] = minus[index] - eps
        out[index] = (f(plus) - f(minus)) / (2 * eps)
    return out


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda f, x, eps: None, "returns nothing"),
        (lambda f, x, eps: numeric()(f, x, eps).ravel(), "expected an array of that shape, got (6,)"),
        (alias_both, "every difference is 0: x_plus and x_minus are one array"),
        (alias_one_and_put_back, "x_plus = x is a second name for the same array"),
        (copied_once, "is each element put back before the next one moves?"),
        (numeric(step_minus=0, distance=1), "one-sided differences"),
        (numeric(step_plus=0, distance=1), "one-sided differences"),
        (numeric(distance=1), "every number is 2 times"),
        (numeric(distance=4), "every number is 0.5 times"),
        (numeric(distance=-2), "every number is -1 times"),
        (like_integers, "holds integers, which cannot take a small step"),
    ],
)
def test_mistakes_with_differences(answer, words, capsys):
    assert words in hint(check_numeric_gradient, answer, capsys)


def test_moving_to_and_fro_is_accepted_if_the_value_is_put_back():
    def answer(f, x, eps):
        work, out = x.astype(float), np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            kept = work[index]
            work[index] = kept + eps
            plus = f(work)
            work[index] = kept - eps
            out[index] = (plus - f(work)) / (2 * eps)
            work[index] = kept
        return out

    assert check_numeric_gradient(answer) is True


# ---- agree ----


def agree(tape, numeric, rtol, atol):
    return np.all(np.abs(tape - numeric) <= atol + rtol * np.abs(numeric))


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda t, n, r, a: None, "give one True or False"),
        (lambda t, n, r, a: np.abs(t - n) <= a + r * np.abs(n), "give one True or False for the whole array"),
        (lambda t, n, r, a: np.max(np.abs(t - n) / np.abs(n)) < r, "0 and 0 must agree; a relative error is 0/0"),
        (lambda t, n, r, a: np.all((t == n) | (np.abs(t - n) <= r * np.abs(n))), "need a floor, atol"),
        (lambda t, n, r, a: np.all(t - n <= a + r * np.abs(n)), "take its absolute value"),
        (lambda t, n, r, a: np.any(np.abs(t - n) <= a + r * np.abs(n)), "all must agree"),
        (lambda t, n, r, a: not np.any(np.abs(t - n) > a + r * np.abs(n)), "NaN must agree with nothing"),
        (lambda t, n, r, a: np.all(np.abs(t - n) <= a + r), "scale rtol by |numeric|"),
        (lambda t, n, r, a: np.allclose(t, n, rtol=1e-5, atol=1e-5), "1e-6 and 2e-6 must not agree"),
        (lambda t, n, r, a: np.allclose(t, n, r, a, equal_nan=True), "NaN must agree with nothing"),
        (lambda t, n, r, a: True, "3 and 1 must not agree"),
        (lambda t, n, r, a: False, "equal arrays must agree"),
        (lambda t, n, r, a: agree(t, n, r, a) or np.isinf(t).all(), "an infinite gradient"),
    ],
)
def test_mistakes_with_tolerances(answer, words, capsys):
    assert words in hint(check_agree, answer, capsys)


def test_numpy_allclose_is_accepted():
    assert check_agree(lambda tape, numeric, rtol, atol: np.allclose(tape, numeric, rtol, atol)) is True


# ---- suspects ----

GUILTY = {"standardize", "pick", "gelu"}


@pytest.mark.parametrize(
    "answer, words",
    [
        (set(), "at least one of the five is wrong"),
        ("gelu", "expected a set of names"),
        (3, "expected a set of names"),
        ({"relu"}, "there is no suspect 'relu'"),
        (GUILTY | {"leaky_relu"}, "Did you check it at its kink"),
        (GUILTY | {"softplus"}, "softplus is right"),
        (GUILTY - {"standardize"}, "invisible if you check sum(y)"),
        (GUILTY - {"pick"}, "the row that is picked twice"),
        (GUILTY - {"gelu"}, "a relative tolerance of 1e-3 lets it pass"),
    ],
)
def test_wrong_accusations(answer, words, capsys):
    assert words.lower() in hint(check_suspects, answer, capsys).lower()


def test_a_list_is_as_good_as_a_set():
    assert check_suspects(sorted(GUILTY)) is True


def test_the_bugs_hide_where_the_hints_say():
    x = np.random.default_rng(0).normal(size=(3, 4))

    def error(name, g, numeric_eps=1e-6):
        _, vjp = SUSPECTS[name](x)
        numeric = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            step = np.zeros(x.shape)
            step[index] = numeric_eps
            numeric[index] = np.sum(g * (SUSPECTS[name](x + step)[0] - SUSPECTS[name](x - step)[0])) / (2 * numeric_eps)
        return np.abs(vjp(g)[0] - numeric), np.abs(numeric)

    for name in SUSPECTS:
        g = np.random.default_rng(1).normal(size=SUSPECTS[name](x)[0].shape)
        difference, size = error(name, g)
        assert (difference > 1e-7 + 1e-5 * size).any() == (name in GUILTY), name
    assert error("standardize", np.ones((3, 4)))[0].max() < 1e-8
    difference, size = error("gelu", np.ones((3, 4)))
    assert (difference <= 1e-5 + 1e-3 * size).all()

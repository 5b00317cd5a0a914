"""The exercises of the chapter *sgd*: known mistakes are named."""

import numpy as np
import pytest

from odyssey.exercises import sgd as exercises


def nesterov_at_w(gradient, w, rate, momentum, steps):
    v = np.zeros_like(w)
    for _ in range(steps):
        v = momentum * v + gradient(w)
        w = w - rate * v
    return w


def nesterov_without_the_last_look(gradient, w, rate, momentum, steps):
    v = np.zeros_like(w)
    for _ in range(steps):
        v = momentum * v + gradient(w - rate * momentum * v)
        w = w - rate * v
    return w


def nesterov_in_place(gradient, w, rate, momentum, steps):
    w -= 1.0
    return w


def two_points_returning_the_first(gradient, w, rate, momentum, steps):
    y = w
    for _ in range(steps):
        before, w = w, y - rate * gradient(y)
        y = w + momentum * (w - before)
    return w


def momentum_descent(p, gradients, rate, momentum, first, later):
    v = np.zeros_like(p)
    for t, g in enumerate(gradients):
        v = momentum * v + (later if t else first) * g
        p = p - rate * v
    return p


def velocity_is_the_gradient(p, gradients, rate, momentum, dampening):
    v = gradients[0]
    p = p - rate * v
    for g in gradients[1:]:
        v *= momentum
        v += (1 - dampening) * g
        p = p - rate * v
    return p


def parameters_in_place(p, gradients, rate, momentum, dampening):
    p -= rate * gradients[0]
    return p


WRONG = {
    "no momentum": ("largest_rate", lambda c, m: 2 / max(c), "without momentum"),
    "flattest": ("largest_rate", lambda c, m: 2 * (1 + m) / min(c), "steepest direction diverges first"),
    "half": ("largest_rate", lambda c, m: (1 + m) / max(c), "half of the limit"),
    "floor": ("steps", lambda k, f: int(np.floor(np.log(f) / np.log((k - 1) / (k + 1)))), "round up"),
    "momentum": (
        "steps",
        lambda k, f: int(np.ceil(np.log(f) / np.log((np.sqrt(k) - 1) / (np.sqrt(k) + 1)))),
        "enough with momentum",
    ),
    "small rate": ("steps", lambda k, f: int(np.ceil(np.log(f) / np.log(1 - 1 / k))), "best rate is larger"),
    "plain momentum": ("nesterov", nesterov_at_w, "plain momentum"),
    "returned w": ("nesterov", nesterov_without_the_last_look, "you returned w"),
    "returned the first point": ("nesterov", two_points_returning_the_first, "you returned w"),
    "damped from zero": (
        "dampening",
        lambda p, gs, r, m, d: momentum_descent(p, gs, r, m, 1 - d, 1 - d),
        "the whole first gradient",
    ),
    "undamped": ("dampening", lambda p, gs, r, m, d: momentum_descent(p, gs, r, m, 1, 1), "left the dampening out"),
    "averaged": ("dampening", lambda p, gs, r, m, d: momentum_descent(p, gs, r, m, 1, 1 - m), "not 1 - momentum"),
    "aliased": ("dampening", velocity_is_the_gradient, "changed a gradient"),
    "p in place": ("dampening", parameters_in_place, "changed p itself"),
    "one number": ("dampening", lambda *a: 1.0, "shape"),
    "in place": ("nesterov", nesterov_in_place, "changed w itself"),
    "raises": ("nesterov", lambda *a: 1 / 0, "ZeroDivisionError"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_wrong_answers_get_their_hint(mistake: str, capsys: pytest.CaptureFixture[str]) -> None:
    check, answer, hint = WRONG[mistake]
    assert getattr(exercises, f"check_{check}")(answer) is False
    assert hint in capsys.readouterr().out

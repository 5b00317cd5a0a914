"""Checks for the exercises of the chapter mixed_precision."""

from __future__ import annotations

from collections.abc import Callable
from math import isclose
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..optim import SGD
from ..optim.mixed_precision import GradScaler
from ._check import NotYet, exercise

# ---- spacing ----


@exercise
def check_spacing(answer: Callable[..., Any]) -> str:
    """`answer(x, p, e_min)`: the distance from |x| to the next larger number of the format."""

    def ask(x: float, p: int, e_min: int) -> float:
        got = answer(x, p, e_min)
        if got is None:
            raise NotYet("your function returns nothing")
        return float(got)

    for x in (1.0, 1.5, 3.0, 2048.0, 2047.0, 0.1, 40000.0):
        expected, got = float(np.spacing(np.float16(x))), ask(x, 11, -14)
        if isclose(got, expected):
            continue
        if x == 1.0 and isclose(got, expected / 2):
            raise NotYet("that is half a spacing, or e is 1 too small: frexp gives 1 = 0.5 * 2**1, so e = n - 1")
        if x == 1.0 and isclose(got, expected * 2):
            raise NotYet("twice too large: frexp gives 1 = 0.5 * 2**1, so e = n - 1")
        if isclose(got, float(np.spacing(np.float16(1)))):
            raise NotYet(f"the spacing grows with x; at {x:g} it is {expected:g}")
        raise NotYet(f"at {x:g} float16's spacing is {expected:g}, you give {got:g}")
    for x in (-1.5, -3.0):
        if not isclose(ask(x, 11, -14), float(np.spacing(np.float16(-x)))):
            raise NotYet(f"for {x:g} the spacing is that of {-x:g}, a positive number; take the size of x")
    for x in (2.0**-15, 2.0**-20, 2.0**-24):
        if not isclose(ask(x, 11, -14), 2.0**-24):
            raise NotYet(f"{x:g} is subnormal: below 2**e_min the spacing stays 2**(e_min - p + 1), 6e-08 in float16")
    with np.errstate(all="ignore"):
        at_zero = ask(0.0, 11, -14)
    if not isclose(at_zero, 2.0**-24):
        raise NotYet(f"from 0 the next number is the smallest subnormal, 6e-08; you give {at_zero:g}")
    for x, p, e_min in ((1.0, 8, -126), (5.0, 24, -126), (2.0**-10, 4, -6)):
        expected = 2.0 ** (max(int(np.frexp(x)[1]) - 1, e_min) - p + 1)
        if not isclose(ask(x, p, e_min), expected):
            raise NotYet(f"with p = {p} and e_min = {e_min} the spacing at {x:g} is {expected:g}; use both arguments")
    return "the right distance for normal and subnormal numbers, of either sign, in any format."


# ---- the state machine ----


@exercise
def check_next_scale(answer: Callable[..., Any]) -> str:
    """`answer(s, c, overflow, interval)`: the scale and the counter after one step."""

    def ask(s: float, c: int, overflow: bool, interval: int) -> tuple[float, float]:
        got = answer(s, c, overflow, interval)
        if got is None:
            raise NotYet("your function returns nothing")
        if not isinstance(got, list | tuple) or len(got) != 2:
            raise NotYet("expected a pair, the new scale and the new counter")
        return float(got[0]), float(got[1])

    s, c = ask(8.0, 3, True, 10)
    if s > 8:
        raise NotYet("the scale grows after an overflow; it must shrink")
    if s != 4:
        raise NotYet(f"after an overflow the scale 8 becomes 4, you give {s:g}")
    if c != 0:
        raise NotYet("an overflow must put the counter back to 0: only steps in a row count")
    s, c = ask(8.0, 3, False, 10)
    if s != 8:
        raise NotYet(f"the fourth clean step of ten leaves the scale at 8, you give {s:g}")
    if c != 4:
        raise NotYet(f"a clean step raises the counter from 3 to 4, you give {c:g}")
    s, c = ask(8.0, 8, False, 10)
    if (s, c) != (8, 9):
        raise NotYet("the scale doubles at step number 9 of 10, one too early")
    s, c = ask(8.0, 9, False, 10)
    if s == 8:
        raise NotYet("the tenth clean step of ten doubles the scale; compare after the counter was raised")
    if s != 16:
        raise NotYet(f"after ten clean steps the scale 8 becomes 16, you give {s:g}")
    if c != 0:
        raise NotYet("after doubling the counter begins again at 0, or the scale would double at every step")
    if ask(8.0, 0, False, 1) != (16, 0):
        raise NotYet("with an interval of 1 every clean step doubles the scale")
    if ask(8.0, 9, True, 10) != (4, 0):
        raise NotYet("an overflow in the tenth step halves the scale; it must not double first")
    return "halved after an overflow, doubled after enough clean steps in a row."


# ---- a training step ----


class _Watched(SGD):
    """An SGD that counts its steps and the clearing of gradients."""

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__(params, **options)
        self.steps = 0

    def step(self, *arguments: Any, **options: Any) -> Any:
        self.steps += 1
        return super().step(*arguments, **options)


@exercise
def check_train_step(answer: Callable[..., Any]) -> str:
    """`answer(loss, params, optimizer, scaler, max_norm)`: one step with clipping and a loss scale."""

    def run(
        factor: float,
        max_norm: float,
        steps: int = 1,
        scale: float = 2.0**10,
        stale: float | None = None,
    ) -> Any:
        params = [Tensor(np.zeros(n), True, np.float32) for n in (1, 1)]
        if stale is not None:
            for p in params:
                p.grad = np.full(1, stale, np.float32)
        optimizer = _Watched(params, lr=1.0)
        scaler = GradScaler(init_scale=scale, growth_interval=3)
        with np.errstate(all="ignore"):
            for _ in range(steps):
                loss = np.sum(params[0] * (3 * factor)) + np.sum(params[1] * (4 * factor))
                answer(loss, params, optimizer, scaler, max_norm)
        return -np.concatenate([p.data for p in params]), optimizer, scaler

    moved, optimizer, scaler = run(0.1, 10.0)
    right = np.array([0.3, 0.4])
    if not optimizer.steps or not moved.any():
        raise NotYet("no parameter has moved; call scaler.step(optimizer)")
    if optimizer.steps > 1:
        raise NotYet(f"one call made {optimizer.steps} steps; scaler.step already calls optimizer.step")
    if np.allclose(moved, right * 2**10, rtol=1e-3):
        raise NotYet(
            "the step is 1024 times too long: the gradients still hold the scale. Let the scaler make the step"
        )
    if np.allclose(moved, right / 2**10, rtol=1e-3):
        raise NotYet("the step is 1024 times too short: scale the loss before backward()")
    if np.allclose(np.linalg.norm(moved) * 2**10, 10, rtol=1e-3):
        raise NotYet("a gradient of norm 0.5 was clipped to 10: clip_grad_norm saw it with the scale; unscale_ first")
    if not np.allclose(moved, right, rtol=1e-3):
        raise NotYet(f"gradients (0.3, 0.4), below max_norm, should give that step at rate 1; you made {moved}")
    moved, optimizer, scaler = run(1.0, 1.0)
    if np.allclose(moved, [3, 4], rtol=1e-3):
        raise NotYet("a gradient of norm 5 was not clipped to 1; call clip_grad_norm between unscale_ and step")
    if not np.allclose(moved, [0.6, 0.8], rtol=1e-3):
        raise NotYet(f"gradients (3, 4) clipped to norm 1 give the step (0.6, 0.8), you made {moved}")
    if not np.allclose(run(0.1, 10.0, stale=5.0)[0], right, rtol=1e-3):
        raise NotYet("old gradients are added to the new ones; call zero_grad() before backward()")
    try:
        moved, optimizer, scaler = run(0.1, 10.0, steps=3)
    except RuntimeError as error:
        raise NotYet(f"the second step raises: {error}") from None
    if scaler.get_scale() == 2.0**10:
        raise NotYet("after three clean steps of a growth interval of 3 the scale is what it was; call scaler.update()")
    if not np.allclose(moved, 3 * right, rtol=1e-3):
        raise NotYet(f"three steps should move by (0.9, 1.2), yours move by {moved}")
    moved, optimizer, scaler = run(1.0, 1.0, scale=2.0**127)
    if optimizer.steps or moved.any():
        raise NotYet("a step was made although the scaled gradients overflowed; leave that to scaler.step")
    return "unscaled, clipped, stepped, and the scale brought up to date."


# ---- the best fixed scale ----


@exercise
def check_best_scale(answer: Callable[..., Any]) -> str:
    """`answer(g)`: the largest power of two by which g may be multiplied without overflow in float16."""
    cases = (
        np.array([0.3, -0.001]),
        np.array([[1e-6], [-2e-5]]),
        np.array([3.0, 1e5, 4.0]),
        np.array([-7e-3, 1e-9]),
    )
    for g in cases:
        got = answer(g.astype(np.float32).copy())
        if got is None:
            raise NotYet("your function returns nothing")
        s, largest = float(got), float(np.max(np.abs(g)))
        if not s > 0 or np.frexp(s)[0] != 0.5:
            raise NotYet(f"{s:g} is no power of two, so it would change the digits of the gradients")
        if s * largest >= 65520:
            hint = "; take the largest size, whatever its sign" if s * np.max(g) < 65520 else ""
            raise NotYet(f"{s:g} times the largest gradient, {largest:g}, is infinite in float16{hint}")
        if 2 * s * largest < 65520:
            raise NotYet(f"a scale of {2 * s:g} would do as well for a largest gradient of {largest:g}, you give {s:g}")
    edge = float(answer(np.array([65519.0], np.float32)))
    if edge != 1:
        raise NotYet("65519 still fits, since it is rounded to 65504: the bound is 65520, halfway to 65536")
    if float(answer(np.array([65520 / 1024], np.float32))) != 512:
        raise NotYet("65520 itself is rounded to infinity; the product must stay below it")
    return "the largest gradient just fits."

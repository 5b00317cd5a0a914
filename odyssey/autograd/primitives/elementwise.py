"""Operations that treat every element alike.

Their Jacobian is diagonal, so the vjp is a product.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tape import primitive
from ..tape.entry import Array, Rule

# The vjps of the commonest operations stand in the decorator, made once, and get what the rule
# saved as their second argument. The others are closures, made at each call: shorter to write, a
# tenth slower on small arrays.


@primitive(np.add, vjp=(lambda g, _: g, lambda g, _: g))
def add(x: Any, y: Any) -> Rule:
    """x + y, with broadcasting. d/dx = d/dy = 1."""
    return x + y, ()


@primitive(np.subtract, vjp=(lambda g, _: g, lambda g, _: -g))
def subtract(x: Any, y: Any) -> Rule:
    """x - y, with broadcasting. d/dx = 1, d/dy = -1."""
    return x - y, ()


@primitive(np.multiply, vjp=(lambda g, xy: g * xy[1], lambda g, xy: g * xy[0]))
def multiply(x: Any, y: Any) -> Rule:
    """x * y, with broadcasting. d/dx = y, d/dy = x."""
    return x * y, (x, y)


@primitive(
    np.divide, vjp=(lambda g, saved: g / saved[0], lambda g, saved: -g * saved[1] / saved[0])
)
def divide(x: Any, y: Any) -> Rule:
    """x / y, with broadcasting. d/dx = 1/y, d/dy = -x/y**2."""
    out = x / y
    return out, (y, out)


@primitive(np.negative, vjp=(lambda g, _: -g,))
def negative(x: Array) -> Rule:
    """-x. d/dx = -1."""
    return -x, ()


@primitive(np.power)
def power(x: Any, y: Any) -> Rule:
    """x ** y, with broadcasting. d/dx = y * x**(y-1), d/dy = x**y * log(x).

    d/dx is 0 where y = 0, d/dy where x = 0 < y: there the power is constant. 0 at x = y = 0 too.

    Small integer powers are products: NumPy's float32 ``x ** 3`` is far slower than ``x * x * x``.
    """
    if y.ndim == 0 and y.dtype == x.dtype and y in (2, 3):
        below = x if y == 2 else x * x
        out = below * x
        return out, (lambda g: g * (y * below), lambda g: g * _slope_of_exponent(x, y, out))
    out = np.power(x, y)  # not x ** y, whose dtype depends on the version of NumPy if y has no axes
    return out, (lambda g: g * _slope_of_base(x, y), lambda g: g * _slope_of_exponent(x, y, out))


def _slope_of_base(x: Any, y: Any) -> Any:
    # Where y = 0 the power is the constant 1; the formula would give 0 * inf at x = 0.
    return np.where(
        np.equal(y, 0),
        0,
        y * x ** np.where(np.equal(y, 0), 1, np.subtract(y, 1)).astype(np.result_type(x, y)),
    )


def _slope_of_exponent(x: Any, y: Any, out: Any) -> Any:
    # 0**y = 0 for every y > 0, a constant; the formula would give 0 * -inf.
    zero = np.equal(x, 0) & np.greater_equal(y, 0)
    return np.where(zero, 0, out * np.log(np.where(zero, 1, x)))


@primitive(np.exp, vjp=(lambda g, out: g * out,))
def exp(x: Array) -> Rule:
    """e**x, elementwise. d/dx e**x = e**x."""
    out = np.exp(x)
    return out, out


@primitive(np.expm1)
def expm1(x: Array) -> Rule:
    """e**x - 1, precise for small x. d/dx = e**x = out + 1."""
    out = np.expm1(x)
    return out, lambda g: (g * (out + 1),)


@primitive(np.log, vjp=(lambda g, x: g / x,))
def log(x: Array) -> Rule:
    """Natural logarithm. d/dx = 1/x."""
    return np.log(x), x


@primitive(np.log1p)
def log1p(x: Array) -> Rule:
    """log(1 + x), precise for small x. d/dx = 1/(1 + x)."""
    return np.log1p(x), lambda g: (g / (1 + x),)


@primitive(np.sqrt, vjp=(lambda g, out: g / (out + out),))
def sqrt(x: Array) -> Rule:
    """Square root. d/dx = 1/(2 sqrt x), infinite at 0."""
    out = np.sqrt(x)
    return out, out


@primitive(np.square, vjp=(lambda g, x: g * (x + x),))
def square(x: Array) -> Rule:
    """x * x. d/dx = 2x."""
    return np.square(x), x


@primitive(np.absolute)
def abs(x: Array) -> Rule:
    """Absolute value. d/dx = sign(x), and 0 at the kink x = 0."""
    return np.absolute(x), lambda g: (g * np.sign(x),)


@primitive(np.sin, vjp=(lambda g, x: g * np.cos(x),))
def sin(x: Array) -> Rule:
    """Sine of x in radians. d/dx = cos x."""
    return np.sin(x), x


@primitive(np.cos, vjp=(lambda g, x: -g * np.sin(x),))
def cos(x: Array) -> Rule:
    """Cosine of x in radians. d/dx = -sin x."""
    return np.cos(x), x


@primitive(np.tanh, vjp=(lambda g, out: g - g * out * out,))
def tanh(x: Array) -> Rule:
    """Hyperbolic tangent. d/dx = 1 - tanh(x)**2."""
    out = np.tanh(x)
    return out, out


@primitive(vjp=(lambda g, out: g * (out - out * out),))
def sigmoid(x: Array) -> Rule:
    """1 / (1 + e**-x). d/dx = out (1 - out)."""
    with np.errstate(over="ignore"):  # far below 0 e**-x is infinite, and the quotient 0
        out = 1 / (1 + np.exp(-x))
    return out, out


WHOLE = {n: np.dtype(f"i{n}") for n in (2, 4, 8)}  # whole numbers as long as a float, by bytes


def _relu_vjp(g: Array, out: Array) -> Array:
    # The bits as a whole number, times 0 or 1: on large arrays faster than a product of floats and
    # truth values, and where g is infinite it gives 0 or g, not NaN.
    if g.itemsize not in WHOLE:
        return np.where(out != 0, g, np.zeros((), g.dtype))
    passed: Array = g.view(WHOLE[g.itemsize]) * (out != 0)  # as in PyTorch, g where x is NaN
    return passed.view(g.dtype)


@primitive(vjp=(_relu_vjp,))
def relu(x: Array) -> Rule:
    """max(x, 0). d/dx = 1 where x > 0, else 0; so 0 at the kink, as in PyTorch."""
    out = np.maximum(x, np.zeros((), x.dtype))
    return out, out


@primitive(np.maximum)
def maximum(x: Any, y: Any) -> Rule:
    """The larger of x and y, with broadcasting. It gets g; equal ones share it, half each."""
    return np.maximum(x, y), (lambda g: g * _share(x, y), lambda g: g * _share(y, x))


@primitive(np.minimum)
def minimum(x: Any, y: Any) -> Rule:
    """The smaller of x and y, with broadcasting. It gets g; equal ones share it, half each."""
    return np.minimum(x, y), (lambda g: g * _share(y, x), lambda g: g * _share(x, y))


def _share(larger: Any, smaller: Any) -> Any:
    # 1 where `larger` wins, 1/2 at a tie, 0 where it loses; 1 for both beside a NaN, as in PyTorch
    dtype = np.result_type(larger, smaller)
    loses = np.less(larger, smaller).astype(dtype)
    return np.where(np.equal(larger, smaller), dtype.type(0.5), 1 - loses)


@primitive(np.where, conditions=1)
def where(condition: Any, x: Any, y: Any) -> Rule:
    """x where `condition` holds, else y; the three broadcast.

    Each element of g goes where its value came from.
    """
    out = np.where(condition, x, y)
    zero = np.zeros((), out.dtype)
    return out, (
        None,
        lambda g: np.where(condition, g, zero),
        lambda g: np.where(condition, zero, g),
    )


@primitive(np.clip)
def clip(
    x: Array, /, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None
) -> Rule:
    """x limited to [a_min, a_max]; None is no limit. The bounds (also `min`, `max`) are constants.

    d/dx = 1 inside and at the bounds, 0 outside.
    """
    low, high = a_min if min is None else min, a_max if max is None else max
    if low is None and high is None:
        raise ValueError("needs a bound, got none; pass min, max or both")
    inside = (low is None or x >= low) & (high is None or x <= high)
    return np.clip(x, low, high), lambda g: (g * inside,)

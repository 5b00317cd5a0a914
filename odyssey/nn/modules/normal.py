"""The normal distribution function, which NumPy does not have."""

from __future__ import annotations

from math import cos, erfc, exp, pi, sqrt

import numpy as np

from ...autograd.tape.entry import Array

K = 2.6  # of t = K / (K + y), which maps y >= 0 to 0 < t <= 1
REACH = 3.0  # up to this y a fit is good; what it does beyond, exp(-y²) makes small


def scaled_erfc(y: float) -> float:
    """``exp(y²) erfc(y)`` for y >= 0: by its asymptotic series where erfc is too small."""
    if y < 6.5:
        return exp(y * y) * erfc(y)
    term, total = 1.0, 1.0
    for n in range(1, 30):
        term *= -(2 * n - 1) / (2 * y * y)
        total += term
    return total / (y * sqrt(pi))


def chebyshev_fit(degree: int, reach: float = REACH, points: int = 200) -> list[float]:
    """Coefficients of a polynomial in t = K / (K + y) near exp(y²) erfc(y) / 2 for y <= `reach`.

    After Shepherd & Laframboise 1981, by the points of Chebyshev; the highest power comes first.
    """
    low = K / (K + reach)
    angles = [(k + 0.5) * pi / points for k in range(points)]
    values = [scaled_erfc(K / (low + (1 - low) * (1 + cos(a)) / 2) - K) / 2 for a in angles]
    series = [
        (2 - (n == 0)) / points * sum(f * cos(n * a) for f, a in zip(values, angles, strict=True))
        for n in range(degree + 1)
    ]
    fit = np.polynomial.Chebyshev(series, domain=[low, 1])
    return [float(c) for c in fit.convert(kind=np.polynomial.Polynomial).coef[::-1]]


# Degree 6 is right to 8e-9, more than float32 can hold; degree 13 to 1e-15.
SHORT, LONG = chebyshev_fit(6), chebyshev_fit(13)


def cdf_and_density(x: Array, cdf: Array, density: Array) -> None:
    """Fill `cdf` with Φ(x) and `density` with exp(-x²/2) / sqrt(2π), of the normal distribution.

    With y = |x| / sqrt(2): Φ(-|x|) = erfc(y) / 2, and exp(-y²) stands in both.
    """
    t = np.abs(x, out=density)
    t += K * sqrt(2)
    np.divide(K * sqrt(2), t, out=t)
    first, second, *others = LONG if x.dtype.itemsize > 4 else SHORT
    np.multiply(t, first, out=cdf)
    cdf += second
    for c in others:
        cdf *= t
        cdf += c
    np.square(x, out=density)
    density *= -0.5
    np.exp(density, out=density)
    cdf *= density  # Φ(-|x|)
    np.subtract(0.5, cdf, out=cdf)
    give_sign(cdf, x)
    cdf += 0.5
    density *= 1 / sqrt(2 * pi)


def give_sign(values: Array, x: Array) -> None:
    """``np.copysign(values, x, out=values)`` of values >= 0, on the bits: more than twice as fast.

    The sign of a float is its first bit, which is 0 in all `values`.
    """
    if x.itemsize > 8:  # no integers are as long
        np.copysign(values, x, out=values)
        return
    bits = np.dtype(f"u{x.itemsize}")
    sign = x.view(bits) & bits.type(1 << (8 * x.itemsize - 1))
    values.view(bits)[...] |= sign

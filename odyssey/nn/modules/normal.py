"""The normal distribution function, which NumPy does not have."""

from __future__ import annotations

from math import cos, erfc, exp, pi, sqrt

import numpy as np

from ...autograd.tape.entry import Array

K = 3.0  # of t = (y - K) / (y + K), which maps y >= 0 to -1 <= t < 1


def scaled_erfc(y: float) -> float:
    """``exp(y²) erfc(y)`` for y >= 0: by its asymptotic series where erfc is too small."""
    if y < 6.5:
        return exp(y * y) * erfc(y)
    term, total = 1.0, 1.0
    for n in range(1, 30):
        term *= -(2 * n - 1) / (2 * y * y)
        total += term
    return total / (y * sqrt(pi))


def chebyshev_fit(degree: int, points: int = 200) -> list[float]:
    """Coefficients of a polynomial in t = (y - K) / (y + K) near exp(y²) erfc(y) / 2.

    After Shepherd & Laframboise 1981, by the points of Chebyshev; the highest power comes first.
    """
    angles = [(k + 0.5) * pi / points for k in range(points)]
    values = [scaled_erfc(K * (1 + cos(a)) / (1 - cos(a))) / 2 for a in angles]
    series = [
        (2 - (n == 0)) / points * sum(f * cos(n * a) for f, a in zip(values, angles, strict=True))
        for n in range(degree + 1)
    ]
    return [float(c) for c in np.polynomial.chebyshev.cheb2poly(series)[::-1]]


# Degree 8 is right to 3e-8, which is what float32 can hold; degree 20 to 2e-15.
SHORT, LONG = chebyshev_fit(8), chebyshev_fit(20)


def cdf_and_density(x: Array, cdf: Array, density: Array) -> None:
    """Fill `cdf` with Φ(x) and `density` with exp(-x²/2) / sqrt(2π), of the normal distribution.

    With y = |x| / sqrt(2): Φ(-|x|) = erfc(y) / 2, and exp(-y²) stands in both.
    """
    t = np.abs(x, out=density)
    t += K * sqrt(2)
    np.divide(-2 * K * sqrt(2), t, out=t)
    t += 1
    first, *others = LONG if x.dtype.itemsize > 4 else SHORT
    cdf.fill(first)
    for c in others:
        cdf *= t
        cdf += c
    np.multiply(x, x, out=density)
    density *= -0.5
    np.exp(density, out=density)
    cdf *= density  # Φ(-|x|)
    np.subtract(0.5, cdf, out=cdf)
    np.copysign(cdf, x, out=cdf)
    cdf += 0.5
    density *= 1 / sqrt(2 * pi)

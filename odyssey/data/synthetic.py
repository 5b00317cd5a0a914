"""Data sets made of a formula and a random generator."""

import numpy as np
from numpy.typing import NDArray

from ._arguments import checked_count, checked_rng

SPIRAL_TURNS = 1.5
SPIRAL_INNER_RADIUS = 0.1
SPIRAL_NOISE = 0.03


def spirals(n: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw `n` points of two interleaved spirals, a problem that no straight line solves.

    Arm 0 starts at radius 0.1 and winds 1.5 turns outward to radius 1; arm 1 is arm 0 turned by half a turn.
    Points lie nearly evenly along an arm. Normal noise of standard deviation 0.03 is added to both coordinates;
    the arms are about 0.3 apart, so that they hardly ever touch except at the centre.

    Parameters
    ----------
    n : int
        Number of points, at least 2. The classes alternate, so an odd `n` gives class 0 one point more.
    rng : np.random.Generator
        Source of the positions and of the noise, e.g. ``np.random.default_rng(0)``.

    Returns
    -------
    X : float32 array of shape (n, 2)
        Coordinates in the plane, without unit, between about -1.1 and 1.1.
    y : int64 array of shape (n,)
        The arm of each point: 0, 1, 0, 1, …

    Raises
    ------
    TypeError
        If `n` is no integer, or `rng` no Generator.
    ValueError
        If `n` is less than 2: each class needs a point.

    Notes
    -----
    After the two-spirals problem of A. Wieland, in K. Lang and M. Witbrock, "Learning to tell two spirals
    apart", 1988 Connectionist Models Summer School: there 3 turns, no noise, 97 points an arm.

    Examples
    --------
    >>> X, y = spirals(6, np.random.default_rng(0))
    >>> X.shape, X.dtype, y.tolist()
    ((6, 2), dtype('float32'), [0, 1, 0, 1, 0, 1])
    """
    n = checked_count("spirals", "n", n, minimum=2)
    rng = checked_rng("spirals", rng)
    y = np.arange(n, dtype=np.int64) % 2
    # An arm's length grows with the square of its radius; the root makes the points even along it.
    outward = np.sqrt(rng.random(n))
    radius = SPIRAL_INNER_RADIUS + (1 - SPIRAL_INNER_RADIUS) * outward
    angle = 2 * np.pi * SPIRAL_TURNS * outward + np.pi * y
    arms = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return (arms + SPIRAL_NOISE * rng.standard_normal((n, 2))).astype(np.float32), y

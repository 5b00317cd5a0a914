"""The spirals: balanced, repeatable, separable by distance and by no line."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odyssey.data import spirals


@settings(deadline=None)
@given(n=st.integers(2, 300), seed=st.integers(0, 2**32))
def test_shapes_dtypes_balance_and_range(n, seed):
    X, y = spirals(n, np.random.default_rng(seed))
    assert (X.shape, X.dtype, y.shape, y.dtype) == ((n, 2), np.float32, (n,), np.int64)
    assert np.array_equal(y, np.arange(n) % 2)
    assert np.abs(X).max() < 1.25


def test_the_generator_decides_everything():
    first = spirals(50, np.random.default_rng(3))
    again = spirals(50, np.random.default_rng(3))
    other = spirals(50, np.random.default_rng(4))
    assert np.array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])


def test_global_seed_has_no_part_in_it():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    spirals(50, np.random.default_rng(3))
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_one_arm_is_the_other_turned_by_half_a_turn():
    X, y = spirals(40_000, np.random.default_rng(0))
    bins = [np.linspace(-1.2, 1.2, 13)] * 2
    arm0 = np.histogram2d(*X[y == 0].T, bins=bins)[0]
    arm1 = np.histogram2d(*-X[y == 1].T, bins=bins)[0]
    assert np.abs(arm0 - arm1).max() < 6 * np.sqrt(arm0.max())


def test_neighbours_tell_the_arms_apart_and_a_line_does_not():
    X, y = spirals(2000, np.random.default_rng(0))
    X_new, y_new = spirals(500, np.random.default_rng(1))
    nearest = ((X_new[:, None] - X) ** 2).sum(axis=2).argmin(axis=1)
    assert np.mean(y[nearest] == y_new) > 0.99
    design = np.column_stack([X, np.ones(len(X))])
    weights = np.linalg.lstsq(design, 2.0 * y - 1, rcond=None)[0]
    assert np.mean((design @ weights > 0) == y) < 0.75


def test_a_numpy_integer_is_an_integer():
    assert len(spirals(np.int32(4), np.random.default_rng(0))[0]) == 4


@pytest.mark.parametrize("n", [1, 0, -3])
def test_too_few_points(n):
    with pytest.raises(ValueError, match=rf"spirals: expected n of at least 2, got {n}; pass"):
        spirals(n, np.random.default_rng(0))


@pytest.mark.parametrize("n", [2.0, "10", None, True, np.True_])
def test_a_number_of_points_that_is_no_integer(n):
    with pytest.raises(TypeError, match=r"spirals: expected an integer n, got .*; pass"):
        spirals(n, np.random.default_rng(0))


@pytest.mark.parametrize("rng", [0, None, np.random, np.random.RandomState(0)])
def test_a_generator_that_is_none(rng):
    with pytest.raises(TypeError, match=r"spirals: expected rng to be a np\.random\.Generator.*default_rng\(0\)"):
        spirals(10, rng)

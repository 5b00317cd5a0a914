"""Marks for tests that need what Python in a browser lacks; test_thirty_two_bits.py runs all others there."""

import sys

import pytest

IN_A_BROWSER = sys.platform == "emscripten"

threads = pytest.mark.skipif(IN_A_BROWSER, reason="a browser's Python has one thread")
processes = pytest.mark.skipif(IN_A_BROWSER, reason="a browser starts no processes")
flags = pytest.mark.skipif(IN_A_BROWSER, reason="WebAssembly has no floating-point flags, so np.errstate sees nothing")

# Bytes that a step may allocate more than elsewhere: without BLAS a sum of squares is made of shorter rows.
MORE_ROWS = 40_000 if IN_A_BROWSER else 0

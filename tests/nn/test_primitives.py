"""Every primitive that odyssey.nn registers: its gradient is the slope, and it leaves no cycle behind.

`CASES` has rows (function, inputs...) for each primitive; an input is a shape, filled with normal random numbers, or an
array. A primitive without a row is an error. `gradcheck` multiplies the result by random weights.
"""

import weakref
import zlib

import numpy as np
import pytest

import odyssey.nn.functional as F
from odyssey import Tensor, gradcheck
from odyssey.autograd import PRIMITIVES, primitive
from tests.autograd.cases import check_freed, distinct, primitives_of

CAUSAL = np.where(np.tri(3, 4, dtype=bool), 0.0, -np.inf)
LABELS = np.array([2, 0, -100, 3])


def seeded_attention(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, dropout_p=0.4, rng=np.random.default_rng(0))


CASES = {
    "affine": [(F.linear, (3, 4), (2, 4), (2,)), (F.linear, (2, 3, 4), (5, 4), (5,)), (F.linear, (4,), (1, 4), (1,))],
    "silu": [(F.silu, (3, 4)), (F.silu, np.array([-20.0, -1.0, 0.0, 3.0]))],
    "gelu": [
        (F.gelu, (3, 4)),
        (F.gelu, np.array([-6.0, -1.0, 0.0, 3.0])),
        (lambda x: F.gelu(x, approximate="tanh"), (3, 4)),
    ],
    "softmax": [(F.softmax, (3, 4)), (lambda x: F.softmax(x, axis=0), (3, 2, 2))],
    "log_softmax": [(F.log_softmax, (3, 4)), (lambda x: F.log_softmax(x, axis=1), (2, 3, 2))],
    "_cross_entropy": [
        (lambda z: F.cross_entropy(z, LABELS), (4, 5)),
        (lambda z: F.cross_entropy(z, LABELS, 0.2, "sum"), (4, 5)),
        (lambda z: F.cross_entropy(z, LABELS, 0.1, "none"), (4, 5)),
        (lambda z: F.cross_entropy(z, LABELS.reshape(2, 2) % 3), (2, 3, 2)),
    ],
    "plain_conv2d": [
        (F.conv2d, (2, 3, 4, 5), (2, 3, 2, 3)),
        (lambda x, w: F.conv2d(x, w, stride=(2, 1), padding=(1, 0), dilation=(1, 2)), (1, 2, 5, 5), (3, 2, 2, 2)),
        (lambda x, w: F.conv2d(x, w, groups=2), (1, 4, 3, 3), (6, 2, 2, 2)),
        (lambda x, w: F.conv2d(x, w, stride=2, padding=1, groups=3), (2, 3, 4, 4), (3, 1, 3, 3)),
    ],
    "biased_conv2d": [
        (F.conv2d, (2, 3, 4, 5), (2, 3, 2, 3), (2,)),
        (lambda x, w, b: F.conv2d(x, w, b, padding=1, dilation=2, groups=2), (1, 4, 4, 4), (2, 2, 2, 2), (2,)),
        (lambda x, w, b: F.conv2d(x, w, b, padding=1, groups=3), (2, 3, 3, 4), (3, 1, 3, 3), (3,)),
    ],
    "_max_pool2d": [
        (lambda x: F.max_pool2d(x, 2), distinct(2, 2, 4, 4)),
        (lambda x: F.max_pool2d(x, 3, stride=(2, 1), padding=1), distinct(1, 2, 4, 5)),
    ],
    "_avg_pool2d": [
        (lambda x: F.avg_pool2d(x, 2), (2, 2, 4, 5)),
        (lambda x: F.avg_pool2d(x, 3, stride=(2, 1), padding=1), (1, 2, 4, 5)),
    ],
    "fused_attention": [
        (F.scaled_dot_product_attention, (2, 3, 2), (2, 4, 2), (2, 4, 5)),
        (lambda *qkv: F.scaled_dot_product_attention(*qkv, CAUSAL), (3, 2), (4, 2), (4, 1)),
        (lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), (1, 2, 3, 2)),
        (seeded_attention, (2, 3, 2), (2, 4, 2), (2, 4, 3)),
    ],
    "standardized": [
        (lambda x: F.group_norm(x, 2), (2, 4, 3)),
        (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), (3, 2, 2, 2), (2,), (2,)),
    ],
    "affine_layer_norm": [
        (lambda x, w, b: F.layer_norm(x, 4, w, b), (3, 4), (4,), (4,)),
        (lambda x, w, b: F.layer_norm(x, (3, 2), w, b), (2, 3, 2), (3, 2), (3, 2)),
    ],
    "scaled_rms_norm": [
        (lambda x, w: F.rms_norm(x, 4, w), (3, 4), (4,)),
        (lambda x, w: F.rms_norm(x, (3, 2), w), (2, 3, 2), (3, 2)),
    ],
}
ROWS = [(name, k) for name, rows in CASES.items() for k in range(len(rows))]
each = pytest.mark.parametrize(("name", "k"), ROWS, ids=[f"{name} {k}" for name, k in ROWS])


def case(name, k):
    """The function of row k of `name`, and its inputs as float64 arrays, the same at every call."""
    f, *specs = CASES[name][k]
    rng = np.random.default_rng(zlib.crc32(f"{name} {k}".encode()))
    return f, [np.array(a) if isinstance(a, np.ndarray) else rng.standard_normal(a) for a in specs]


def without_cases():
    return primitives_of("odyssey.nn").keys() - CASES.keys()


def test_every_primitive_has_cases():
    assert not without_cases(), "add rows for these primitives to CASES"
    assert primitives_of("odyssey.nn").keys() == CASES.keys()


def test_a_primitive_without_a_case_is_noticed():
    @primitive()
    def nothing_tests_me(x):
        """x."""
        return x, lambda g: (g,)

    try:
        assert not without_cases()  # a test defined it, not odyssey.nn
        nothing_tests_me.__module__ = "odyssey.nn.modules.functions"
        assert without_cases() == {"nothing_tests_me"}
    finally:
        del PRIMITIVES["nothing_tests_me"]


def test_every_primitive_is_documented():
    for name, operation in primitives_of("odyssey.nn").items():
        assert operation.__name__ == name and len(operation.__doc__) > 10


@each
def test_every_case_calls_the_primitive_that_it_names(name, k):
    f, inputs = case(name, k)
    assert name in [row.op for row in f(*(Tensor(a, requires_grad=True) for a in inputs)).tape()]


@each
def test_gradient_is_the_slope(name, k):
    f, inputs = case(name, k)
    assert gradcheck(f, *inputs)


def test_a_result_out_of_scope_frees_its_tape_without_the_garbage_collector():
    def forward():
        refs = []
        for name, k in ROWS:
            f, inputs = case(name, k)
            inner = f(*(Tensor(a, requires_grad=True) for a in inputs))
            outer = np.exp(inner).sum()
            refs += [weakref.ref(x) for x in (inner, inner.data, outer.data, *inputs)]
            if k:
                outer.backward()  # of the others the tape was never swept
        return refs

    check_freed(forward)

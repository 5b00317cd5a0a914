"""Layers under autocast: what is rounded and what is not, and whole networks on the digits in three precisions."""

import numpy as np
import pytest

import odyssey.nn.functional as F
from odyssey import Tensor, nn
from odyssey.amp import GradScaler, autocast
from odyssey.data import DataLoader, load_digits
from odyssey.optim import SGD
from odyssey.optim.mixed_precision import rounding

halves = pytest.mark.parametrize("half", ["float16", "bfloat16"])
CAUSAL = np.tri(3, 5, dtype=bool)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(f, arrays, g=None):
    """The result of f; if there is a gradient `g` of it, also the gradient of each array."""
    leaves = [Tensor(a, requires_grad=True) for a in arrays]
    out = f(*leaves)
    assert out.dtype == np.float32
    if g is not None:
        out.backward(g)
    return [out.data, *(leaf.grad for leaf in leaves if g is not None)]


def check_close(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * np.abs(b).max())


def check_differ(found, expected):
    """Each of them is further away, several times, than `check_close` lets through."""
    for a, b in zip(found, expected, strict=True):
        assert np.abs(a - b).max() > 2e-5 * np.abs(b).max()


# ---- what is rounded ----

# name: (function, shapes of the inputs, shape of the result)
ROUNDED = {
    "linear": (F.linear, [(6, 8), (4, 8), (4,)], (6, 4)),
    "linear of many axes": (F.linear, [(2, 3, 8), (4, 8), (4,)], (2, 3, 4)),
    "linear without bias": (F.linear, [(6, 8), (4, 8)], (6, 4)),
    "conv2d": (F.conv2d, [(2, 3, 5, 5), (4, 3, 3, 3), (4,)], (2, 4, 3, 3)),
    "conv2d without bias": (F.conv2d, [(2, 3, 5, 5), (4, 3, 3, 3)], (2, 4, 3, 3)),
    "conv2d in groups": (lambda *a: F.conv2d(*a, groups=2), [(2, 4, 5, 5), (4, 2, 3, 3), (4,)], (2, 4, 3, 3)),
    "depthwise conv2d": (lambda *a: F.conv2d(*a, groups=3), [(2, 3, 5, 5), (3, 1, 3, 3), (3,)], (2, 3, 3, 3)),
    "attention": (F.scaled_dot_product_attention, [(2, 3, 4), (2, 5, 4), (2, 5, 4)], (2, 3, 4)),
    "masked attention": (
        lambda *a: F.scaled_dot_product_attention(*a, CAUSAL),
        [(2, 3, 4), (2, 5, 4), (2, 5, 4)],
        (2, 3, 4),
    ),
}


@halves
@pytest.mark.parametrize("name", ROUNDED)
def test_inputs_and_gradients_of_products_are_rounded(name, half):
    f, shapes, result = ROUNDED[name]
    rounded = rounding(half)
    arrays, g = [random(*shape, seed=i) for i, shape in enumerate(shapes)], random(*result, seed=9)
    expected = run(f, [rounded(a) for a in arrays], rounded(g))
    with autocast(half):
        found = run(f, arrays, g)
    check_close(found, expected)
    precise = run(f, arrays, g)
    check_differ(found[:-1], precise[:-1])
    check_differ(run(f, [rounded(a) for a in arrays], g)[1:], expected[1:])  # the gradient counts, too


@halves
@pytest.mark.parametrize("layer", [nn.Linear(8, 4), nn.Conv2D(2, 4, 3), nn.MultiHeadAttention(8, 2)], ids=repr)
def test_layers_round_their_input_and_their_parameters(layer, half):
    x = random(*{"Linear": (6, 8), "Conv2D": (3, 2, 5, 5)}.get(type(layer).__name__, (2, 5, 8)))
    rounded, precise = rounding(half), layer(Tensor(x)).data
    with autocast(half):
        found = layer(Tensor(x)).data
        np.testing.assert_array_equal(layer(Tensor(rounded(x))).data, found)
        kept = [p.data.copy() for p in layer.parameters()]
        for p in layer.parameters():
            p.data[...] = rounded(p.data)
        np.testing.assert_array_equal(layer(Tensor(x)).data, found)
        for p, before in zip(layer.parameters(), kept, strict=True):
            assert np.abs(p.data - before).max() > 0
            p.data[...] = before
    check_differ([found], [precise])
    np.testing.assert_array_equal(layer(Tensor(x)).data, precise)


@halves
def test_float64_is_not_rounded(half):
    for f, shapes, _ in ROUNDED.values():
        arrays = [random(*shape, seed=i).astype(np.float64) for i, shape in enumerate(shapes)]
        with autocast(half):
            found = f(*arrays).data
        np.testing.assert_array_equal(found, f(*arrays).data)


# ---- what is not ----


@halves
@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 5)])
def test_a_float_mask_is_not_rounded(half, shape):
    rounded, mask = rounding(half), 100 + random(*shape, seed=5)
    qkv, g = [random(2, t, 4, seed=i) for i, t in enumerate([3, 5, 5])], random(2, 3, 4, seed=9)
    expected = run(lambda *a: F.scaled_dot_product_attention(*a, mask), [rounded(a) for a in qkv], rounded(g))
    with autocast(half):
        found = run(lambda *a: F.scaled_dot_product_attention(*a, mask), qkv, g)
    check_close(found, expected)
    with autocast(half):
        wrong = run(lambda *a: F.scaled_dot_product_attention(*a, rounded(mask)), qkv, g)
    check_differ(wrong, expected)


@halves
def test_a_large_negative_mask_stays_finite(half):
    q, k, v = (random(2, t, 4, seed=i) for i, t in enumerate([3, 5, 5]))
    mask = np.where(CAUSAL, 0, -1e9).astype(np.float32)
    mask[1] = -1e9  # a query that may attend to nothing: all scores are -1e9, all weights alike
    with autocast(half):
        out = F.scaled_dot_product_attention(q, k, v, mask).data
    rounded = rounding(half)
    np.testing.assert_allclose(out[:, 1], rounded(v).mean(axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out[:, 0], rounded(v)[:, 0], rtol=1e-6)


@halves
def test_the_dropout_mask_of_attention_is_not_rounded(half):
    def f(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, dropout_p=0.4, rng=np.random.default_rng(0))

    rounded, factor = rounding(half), np.float32(1 / 0.6)
    assert abs(rounded(factor[None])[0] / factor - 1) > 1e-4  # a rounded factor would be seen
    qkv, g = [random(2, t, 4, seed=i) for i, t in enumerate([3, 5, 5])], random(2, 3, 4, seed=9)
    expected = run(f, [rounded(a) for a in qkv], rounded(g))
    with autocast(half):
        check_close(run(f, qkv, g), expected)


BETWEEN = {
    "dropout": lambda x: F.dropout(x, 0.3, rng=np.random.default_rng(0)),
    "layer norm": nn.LayerNorm(8),
    "rms norm": nn.RMSNorm(8),
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
    "softmax": F.softmax,
    "log_softmax": F.log_softmax,
    "cross entropy": lambda x: F.cross_entropy(x, np.arange(6)),
}


@halves
@pytest.mark.parametrize("name", BETWEEN)
def test_what_stands_between_the_products_is_not_rounded(name, half):
    f, x = BETWEEN[name], random(6, 8)
    g = random(*f(x).shape, seed=9)
    with autocast(half):
        found = run(f, [x], g)
    for a, b in zip(found, run(f, [x], g), strict=True):
        np.testing.assert_array_equal(a, b)


# ---- whole networks ----

DIGITS = load_digits()
SEEDS = range(5)


def convolutional(rng):
    return nn.Sequential(
        nn.Conv2D(1, 8, 3, rng=rng),
        nn.ReLU(),
        nn.Conv2D(8, 16, 3, stride=2, rng=rng),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 2 * 2, 10, rng=rng),
    )


class Transformer(nn.Module):
    """Reads the eight rows of an image as a sequence."""

    def __init__(self, rng):
        self.embed = nn.Linear(8, 16, rng=rng)
        self.place = nn.Parameter(rng.normal(0, 0.5, (8, 16)).astype(np.float32))
        self.block = nn.TransformerBlock(16, 2, 32, rng=rng)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(8 * 16, 10, rng=rng)

    def forward(self, images):
        x = self.embed(images.reshape(-1, 8, 8)) + self.place
        return self.head(self.norm(self.block(x)).reshape(-1, 8 * 16))


def accuracy(make, lr, epochs, seed, half, scaled, unit):
    """Of a network trained on the digits with the loss in units of `unit`, which the learning rate makes up for."""
    rng = np.random.default_rng(seed)
    net = make(rng)
    optimizer, scaler = SGD(net.parameters(), lr=lr / unit, momentum=0.9), GradScaler(enabled=scaled)
    precision = autocast(half or "float16", enabled=half is not None)
    for _ in range(epochs):
        for X, y in DataLoader(*DIGITS["train"], batch_size=64, rng=rng):
            with precision:
                z = net(Tensor(X))
            loss = F.cross_entropy(z, y) * unit
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    X, y = (np.concatenate([DIGITS[part][k] for part in ("validation", "test")]) for k in (0, 1))
    with precision:
        return np.mean(net(Tensor(X)).data.argmax(axis=1) == y)


NETWORKS = {"convolutional": (convolutional, 0.15, 6), "transformer": (Transformer, 0.05, 3)}


@pytest.mark.parametrize("network", NETWORKS)
def test_half_precision_learns_as_well_as_float32_and_only_scaled(network):
    def each(half=None, scaled=False, unit=2.0**-20):
        return [accuracy(*NETWORKS[network], seed, half, scaled, unit) for seed in SEEDS]

    precise = np.mean(each())
    assert precise > 0.93
    assert abs(np.mean(each("float16", scaled=True)) - precise) <= 0.01
    assert abs(np.mean(each("bfloat16")) - precise) <= 0.01
    # All gradients of the logits are below 2**-20 / 45 (the smallest batch): float16 rounds them to zero.
    assert max(each("float16")) < 0.5


def test_the_default_scale_does_no_harm_to_a_loss_in_its_usual_unit():
    precise, scaled = (
        np.mean([accuracy(*NETWORKS["convolutional"], seed, half, half is not None, 1.0) for seed in SEEDS])
        for half in (None, "float16")
    )
    assert abs(scaled - precise) <= 0.01

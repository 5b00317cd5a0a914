"""Mixed precision: rounding bit by bit, autocast against formulas, GradScaler against PyTorch and against no scale."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from odyssey import Tensor, amp, detect_anomaly, gradcheck, no_grad
from odyssey.amp import GradScaler, autocast
from odyssey.autograd import PRIMITIVES, primitive
from odyssey.autograd.tape.entry import mode
from odyssey.data import DataLoader, load_digits
from odyssey.optim import SGD, Adam, mixed_precision
from odyssey.optim.clipping import clip_grad_norm
from odyssey.optim.mixed_precision import round_bfloat16, round_float16
from tests import needs
from tests.optim.test_sgd import allocated_by, equal, leaf, snapshot
from tests.reference.make_optim_rates import SCALERS, gradients

REFERENCE = Path(__file__).parents[1] / "reference" / "optim_rates.npz"
HALVES = {"float16": round_float16, "bfloat16": round_bfloat16}
INF, NAN = float("inf"), float("nan")


def test_both_names_are_in_amp() -> None:
    assert amp.autocast is mixed_precision.autocast and amp.GradScaler is mixed_precision.GradScaler


def patterns() -> np.ndarray:
    """Random bit patterns, ties and their neighbours, subnormals, infinities, NaNs with payloads."""
    rng = np.random.default_rng(0)
    random = rng.integers(0, 2**32, 50_000, dtype=np.uint32)
    middle = rng.uniform(-70000, 70000, 20_000).astype(np.float32).view(np.uint32)
    small = (rng.uniform(-1, 1, 20_000) * 2.0**-13).astype(np.float32).view(np.uint32)
    ties = [(v & ~np.uint32((1 << n) - 1)) | np.uint32(1 << (n - 1)) for v in (random, middle) for n in (13, 16)]
    near = [t + np.uint32(1) for t in ties] + [t - np.uint32(1) for t in ties]
    special = np.array([0, 1 << 31, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 1, 0x7F800001, 0xFFFFFFFF, 0x7FC00001,
                        0x477FE000, 0x477FEFFF, 0x477FF000, 0x33000000, 0x33000001], np.uint32)  # fmt: skip
    return np.concatenate([random, middle, small, *ties, *near, special])


def by_integers(bits: int, digits: int, least: int, greatest: int) -> float:
    """The float32 with these `bits`, rounded to `digits` digits and multiples of 2**least; ties to even."""
    sign, exponent, fraction = bits >> 31, bits >> 23 & 255, bits & 0x7FFFFF
    if exponent == 255:
        return NAN if fraction else -INF if sign else INF
    mantissa, power = (fraction | (exponent > 0) << 23), max(exponent, 1) - 150
    shift = max(mantissa.bit_length() - digits, least - power, 0)
    whole, rest = mantissa >> shift, mantissa & ((1 << shift) - 1)
    if shift and (2 * rest > 1 << shift or (2 * rest == 1 << shift and whole & 1)):
        whole += 1
    size = whole * 2.0 ** (power + shift)
    return (-1 if sign else 1) * (INF if size >= 2.0**greatest else size)


@pytest.mark.parametrize(
    ("name", "digits", "least", "greatest"), [("float16", 11, -24, 16), ("bfloat16", 8, -133, 128)]
)
def test_rounding_is_that_of_integers(name, digits, least, greatest) -> None:
    bits = patterns()[::3]
    bits = np.concatenate([bits, patterns()[-14:]])
    x = bits.view(np.float32).copy()
    with np.errstate(invalid="ignore"):  # signalling NaNs
        found = HALVES[name](x)
    expected = np.array([by_integers(int(b), digits, least, greatest) for b in bits], np.float32)
    assert found.dtype == np.float32 and np.array_equal(x.view(np.uint32), bits)
    np.testing.assert_array_equal(found, expected)
    finite = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[finite]), np.signbit(expected[finite]))


def test_float16_is_that_of_numpy() -> None:
    x = patterns().view(np.float32)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(round_float16(x), x.astype(np.float16).astype(np.float32))


def test_bfloat16_is_that_of_ml_dtypes() -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x = patterns().view(np.float32)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(round_bfloat16(x), x.astype(bfloat16).astype(np.float32))


PRODUCTS = {
    "matrices": (np.matmul, [(4, 5), (5, 3)], "ij,jk->ik"),
    "@": (lambda x, y: x @ y, [(4, 5), (5, 3)], "ij,jk->ik"),
    "vector @ matrix": (lambda x, y: x @ y, [(5,), (5, 3)], "j,jk->k"),
    "matrix @ vector": (lambda x, y: x @ y, [(4, 5), (5,)], "ij,j->i"),
    "vectors": (lambda x, y: x @ y, [(5,), (5,)], "j,j->"),
    "batches": (lambda x, y: x @ y, [(2, 4, 5), (2, 5, 3)], "bij,bjk->bik"),
    "batch @ matrix": (lambda x, y: x @ y, [(2, 4, 5), (5, 3)], "bij,jk->bik"),
    "dot": (np.dot, [(4, 5), (5, 3)], "ij,jk->ik"),
    "einsum": (lambda x, y: np.einsum("aij,ajk->ki", x, y), [(2, 4, 5), (2, 5, 3)], "aij,ajk->ki"),
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_products_are_those_of_rounded_numbers(name, half, dtype) -> None:
    operation, shapes, formula = PRODUCTS[name]
    rng, r = np.random.default_rng(0), HALVES[half] if dtype != np.float64 else np.asarray
    wide = np.float64 if dtype == np.float64 else np.float32
    x, y = (leaf(rng.standard_normal(s), dtype) for s in shapes)
    with autocast(half):
        out = operation(x, y)
    g = rng.standard_normal(out.shape).astype(wide)
    out.backward(g)
    a, b, g = r(x.data.astype(wide)), r(y.data.astype(wide)), r(g)
    terms, result = formula.split("->")
    first, second = terms.split(",")
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if wide == np.float32 else {"rtol": 1e-13, "atol": 1e-13}
    assert out.dtype == wide
    np.testing.assert_allclose(out.data, np.einsum(formula, a, b), **tolerance)
    loose = {"rtol": 2e-3, "atol": 2e-3} if dtype == np.float16 else tolerance  # the gradient is float16
    np.testing.assert_allclose(x.grad, np.einsum(f"{result},{second}->{first}", g, b), **loose)
    np.testing.assert_allclose(y.grad, np.einsum(f"{result},{first}->{second}", g, a), **loose)
    assert x.grad.dtype == y.grad.dtype == dtype
    if dtype == np.float32:
        assert not np.allclose(out.data, operation(x.data, y.data), **tolerance)  # it did round


def test_a_product_under_autocast_rounds_its_inputs_and_not_its_options() -> None:
    """An option that stands after the slash may be an array too: a mask of -1e9 must not become -inf."""
    seen: list = []

    @primitive(product=True)
    def masked_product(x, y, /, mask):
        seen.extend((x, y, mask))
        return x @ y + mask, (lambda g: g @ y.T, lambda g: x.T @ g)

    try:
        fine = np.full((1, 1), 1 + 2.0**-20, np.float32)
        with autocast():
            masked_product(Tensor(fine, requires_grad=True), fine, np.full((1, 1), -1e9, np.float32))
    finally:
        del PRIMITIVES["masked_product"]
    x, y, mask = seen
    assert x.item() == y.item() == 1 and mask.item() == np.float32(-1e9)


def test_sums_are_in_float32_and_other_operations_stay() -> None:
    x, ones = leaf(np.full(4096, 1.0), np.float32), np.ones(4096, np.float32)
    fine = leaf([1 + 2**-20], np.float32)
    with autocast():
        assert (x @ ones).item() == 4096  # float16 sums of ones end at 2048
        assert (fine * 1).data == (fine + 0).data == np.sum(fine).data == 1 + 2**-20
        assert (fine @ ones[:1]).item() == 1


def rounds(x=1 + 2.0**-20) -> bool:
    return (leaf([x], np.float32) @ np.ones(1, np.float32)).item() == 1


def test_blocks_nest_and_come_back() -> None:
    assert mode.half is None and not rounds()
    block = autocast()
    with block:
        assert mode.half is round_float16 and rounds()
        with autocast("bfloat16"):
            assert mode.half is round_bfloat16 and rounds(1 + 2**-9)
            with autocast(enabled=False), block, block:
                assert rounds() and not rounds(1 + 2**-9)
            assert mode.half is round_bfloat16
        with autocast(enabled=False):
            assert not rounds()
        with pytest.raises(KeyError), block:
            raise KeyError
        with no_grad(), pytest.raises(KeyError), autocast("bfloat16"):
            raise KeyError
        assert mode.half is round_float16
    assert mode.half is None and not rounds()
    decorated = autocast("bfloat16")(rounds)
    assert decorated(1 + 2**-9) and decorated() and mode.half is None
    gradcheck(lambda x: np.sum((x @ np.transpose(x)) ** 2), leaf(np.arange(6.0).reshape(2, 3)))


@needs.threads
def test_the_setting_belongs_to_a_thread() -> None:
    barrier, found = threading.Barrier(2, timeout=10), {}

    def work(name, block):
        with block:
            barrier.wait()
            found[name] = mode.half, rounds()
            barrier.wait()
        found[name] += (mode.half,)

    block = autocast()
    threads = [threading.Thread(target=work, args=a) for a in (("a", block), ("b", autocast(enabled=False)))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == {"a": (round_float16, True, None), "b": (None, False, None)} and mode.half is None


def test_anomalies_of_rounding_are_reported() -> None:
    big, one = leaf([1e5], np.float32), leaf([[1.0]], np.float32)
    with autocast(), detect_anomaly():
        with pytest.raises(RuntimeError, match=r"^dot: the forward pass made inf"):
            np.dot(big, big)
        y = (one @ one) * 1e6
        with pytest.raises(RuntimeError, match=r"^matmul: the backward pass made inf"):
            y.sum().backward()
    assert mode.half is None and not mode.anomaly


def test_bad_autocasts() -> None:
    for dtype in (np.float32, np.float64, float, "half", 3, None, np.int8):
        with pytest.raises(ValueError, match=r"^autocast: expected dtype"):
            autocast(dtype)
    with pytest.raises(TypeError, match=r"^autocast: expected enabled"):
        autocast(enabled=1)


@pytest.mark.parametrize("number", range(len(SCALERS)))
def test_scales_and_parameters_are_those_of_pytorch(number) -> None:
    starts, steps, bad = gradients(number)
    with np.load(REFERENCE) as stored:
        scales, path = stored[f"scaler{number}_scales"], stored[f"scaler{number}_path"]
    params, scaler = [leaf(s, np.float32) for s in starts], GradScaler(**SCALERS[number])
    optimizer = SGD(params, lr=0.5, momentum=0.9)
    for step, wrong, scale, expected in zip(steps, bad, scales, path, strict=True):
        for p, g, w in zip(params, step, wrong, strict=True):
            p.grad = np.where(w != 0, w, g * np.float32(scaler.get_scale()))
        assert scaler.step(optimizer) == (not wrong.any())
        scaler.update()
        assert scaler.get_scale() == pytest.approx(scale, rel=1e-6)  # PyTorch's is a float32
        np.testing.assert_allclose([p.data for p in params], expected, rtol=1e-6, atol=1e-7)


def made(kind=SGD, n=2, **options):
    rng = np.random.default_rng(3)
    params = [leaf(rng.standard_normal((2, 3)), np.float32) for _ in range(n)]
    return params, kind(params, lr=0.1, **options)


def give(params, scale=1.0, seed=0) -> None:
    rng = np.random.default_rng(seed)
    for p in params:
        p.grad = (rng.standard_normal(p.shape).astype(np.float32) * np.float32(scale)).astype(np.float32)


@pytest.mark.parametrize("kind", [SGD, Adam])
@pytest.mark.parametrize("value", [INF, -INF, NAN])
def test_an_overflow_skips_exactly_one_step(kind, value) -> None:
    params, optimizer = made(kind)
    scaler = GradScaler(growth_interval=2)
    give(params, scaler.get_scale())
    assert scaler.step(optimizer) is True
    scaler.update()
    before = snapshot(optimizer)
    give(params, scaler.get_scale())
    params[1].grad[1, 2] = value
    assert scaler.step(optimizer) is False
    scaler.update()
    assert equal(before, snapshot(optimizer)) and scaler.get_scale() == 2.0**15
    found = []
    for _ in range(2):
        give(params, scaler.get_scale())
        assert scaler.step(optimizer)
        scaler.update()
        found.append(scaler.get_scale())
    assert found == [2.0**15, 2.0**16] and optimizer.state_dict()["state"][0]["step"] == 3


def test_unscale_clip_step_is_the_run_without_a_scale() -> None:
    (one, plain), (two, scaled) = made(momentum=0.9), made(momentum=0.9)
    scaler = GradScaler(growth_interval=2)
    for seed in range(8):
        give(one, 1, seed)
        give(two, scaler.get_scale(), seed)
        scaler.unscale_(scaled)
        assert clip_grad_norm(one, 0.5) == clip_grad_norm(two, 0.5)
        plain.step()
        assert scaler.step(scaled)
        scaler.update()
    assert equal(snapshot(plain), snapshot(scaled))


def test_a_wrong_order_raises_and_changes_nothing() -> None:
    params, optimizer = made(momentum=0.9)
    scaler = GradScaler()
    with pytest.raises(RuntimeError, match=r"^GradScaler.update: "):
        scaler.update()
    give(params, scaler.get_scale())
    scaler.unscale_(optimizer)

    def refused(call, said) -> None:
        before, old = (snapshot(optimizer), scaler.state_dict()), [p.grad.copy() for p in params]
        with pytest.raises(RuntimeError, match=said):
            call(optimizer)
        assert equal(before[0], snapshot(optimizer)) and scaler.state_dict() == before[1]
        assert all(np.array_equal(p.grad, g) for p, g in zip(params, old, strict=True))

    refused(scaler.unscale_, "unscaled already")
    scaler.step(optimizer)
    refused(scaler.unscale_, "step\\(\\) was called already")
    refused(scaler.step, "called twice")
    scaler.update()
    with pytest.raises(RuntimeError):
        scaler.update()


def test_what_is_unscaled_stays_so_when_a_state_is_loaded() -> None:
    params, optimizer = made()
    scaler = GradScaler()
    give(params, scaler.get_scale())
    scaler.unscale_(optimizer)
    before = [p.grad.copy() for p in params]
    scaler.load_state_dict(scaler.state_dict())
    with pytest.raises(RuntimeError, match="unscaled already"):
        scaler.unscale_(optimizer)
    assert all(np.array_equal(p.grad, g) for p, g in zip(params, before, strict=True))
    assert scaler.step(optimizer)


def test_a_step_without_gradients_raises_and_the_scale_stays() -> None:
    _, optimizer = made()
    scaler = GradScaler(growth_interval=1)
    for call in (scaler.step, scaler.step):
        with pytest.raises(RuntimeError, match=r"GradScaler\.step: no parameter.*backward"):
            call(optimizer)
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match=r"GradScaler\.update: no gradients were checked"):
        scaler.update()
    assert scaler.get_scale() == 2.0**16 and scaler.state_dict()["_growth_tracker"] == 0


def test_an_expected_overflow_makes_no_warning() -> None:
    """Warnings are errors here."""
    w = leaf(np.ones((3, 3)), np.float32)
    optimizer, scaler = SGD([w], lr=0.1), GradScaler(init_scale=2.0**40)
    for scale in (2.0**40, 2.0**127):
        scaler = GradScaler(init_scale=scale)
        with autocast():
            hidden = np.tanh(w @ w)
            loss = ((hidden @ w) ** 2).sum() * 300
        scaler.scale(loss).backward()
        assert not np.isfinite(w.grad).all()
        assert not scaler.step(optimizer)
        scaler.update()
        assert scaler.get_scale() == scale / 2 and (w.data == 1).all()
        optimizer.zero_grad()
    with detect_anomaly(), pytest.raises(RuntimeError):
        scaler.scale((w * 3e38).sum()).backward()


def test_of_two_optimizers_only_the_one_that_overflowed_is_skipped() -> None:
    (a, one), (b, two) = made(), made()
    scaler, before = GradScaler(), snapshot(one)
    give(a, INF), give(b, scaler.get_scale())
    assert [scaler.step(one), scaler.step(two)] == [False, True]
    scaler.update()
    assert equal(before, snapshot(one)) and not equal(before, snapshot(two)) and scaler.get_scale() == 2.0**15


def test_limits_of_the_scale() -> None:
    params, optimizer = made()
    for init, bad in ((2.0**126, 0), (2.0**-124, NAN)):
        scaler = GradScaler(init_scale=init, growth_interval=1)
        for _ in range(6):
            for p in params:
                p.grad = np.full(p.shape, bad, np.float32)
            scaler.step(optimizer)
            scaler.update()
        assert 0 < scaler.get_scale() <= np.finfo(np.float32).max and np.isfinite(np.float32(1 / scaler.get_scale()))


def test_scale_off_states_and_options() -> None:
    x, scaler = leaf([2.0], np.float32), GradScaler(init_scale=8.0)
    assert scaler.scale(x).data == 16 and [t.item() for t in scaler.scale([x, x])] == [16, 16]
    assert type(scaler.scale((x,))) is tuple
    with pytest.raises(TypeError, match=r"^GradScaler.scale: "):
        scaler.scale(2.0)
    off = GradScaler(enabled=False)
    with pytest.raises(TypeError, match=r"^GradScaler.scale: "):
        off.scale(np.float32(1))
    params, optimizer = made()
    give(params)
    before = [p.grad.copy() for p in params]
    assert off.scale(x) is x and off.get_scale() == 1 and off.state_dict() == {}
    off.unscale_(optimizer)
    assert off.step(optimizer) and all(np.array_equal(p.grad, g) for p, g in zip(params, before, strict=True))
    off.update()
    one = GradScaler(growth_interval=3)
    give(params)
    one.step(optimizer)
    one.update()
    saved, two = json.loads(json.dumps(one.state_dict())), GradScaler(4.0)
    two.load_state_dict(saved)
    assert two.state_dict() == one.state_dict()
    for bad in (3, None, {}, {**saved, "scale": -1.0}, {**saved, "scale": NAN}, {**saved, "_growth_tracker": -1},
                {**saved, "growth_interval": 0}):  # fmt: skip
        with pytest.raises(ValueError):
            two.load_state_dict(bad)
        assert two.state_dict() == saved
    for name, values in {"init_scale": (0, -1, NAN, INF), "growth_factor": (1, 0.5, NAN), "backoff_factor": (0, 1, NAN),
                         "growth_interval": (0, -1), "enabled": ()}.items():  # fmt: skip
        for value in (*values, *(("1", None) if name != "enabled" else (1, None))):
            with pytest.raises((TypeError, ValueError), match=f"^GradScaler: expected {name}"):
                GradScaler(**{name: value})
    params[0].grad = None
    assert one.step(optimizer)
    half = leaf([1.0], np.float16)
    half.grad = np.ones(1, np.float16)
    with pytest.raises(ValueError, match=r"^GradScaler: the grad of parameter 0 of group 0 is float16"):
        GradScaler().step(SGD([half], lr=0.1))
    with pytest.raises(TypeError, match=r"^GradScaler: expected an Optimizer"):
        GradScaler().unscale_(params)


def unscale_peak(grad) -> int:
    p = leaf(np.zeros(grad.shape), np.float32)
    p.grad, optimizer, scaler = grad, SGD([p], lr=0.1), GradScaler()
    return allocated_by(lambda: scaler.unscale_(optimizer))


def test_unscale_allocates_nothing_that_grows() -> None:
    assert unscale_peak(np.ones((1000, 2000), np.float32)) < 300_000


def test_unscale_copies_no_transposed_gradient() -> None:
    assert unscale_peak(np.ones((2000, 1000), np.float32).T) < 300_000


def accuracy(seed: int, mixed: bool) -> float:
    rng, (X, y) = np.random.default_rng(seed), load_digits()["train"]
    X = X.reshape(-1, 64)
    params = [leaf(rng.normal(0, 0.2, s), np.float32) for s in [(64, 32), (32,), (32, 10), (10,)]]
    W1, b1, W2, b2 = params
    optimizer, scaler = Adam(params, lr=0.01), GradScaler(growth_interval=50, enabled=mixed)
    for _ in range(8):
        for A, b in DataLoader(X, y, batch_size=32, rng=rng):
            optimizer.zero_grad()
            with autocast(enabled=mixed):
                z = np.tanh(A @ W1 + b1) @ W2 + b2
                loss = np.mean(z.logsumexp(axis=1) - z[np.arange(len(b)), b])
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    return float(np.mean((np.tanh(X @ W1 + b1) @ W2 + b2).argmax(axis=1) == y))


@pytest.mark.parametrize("seed", range(3))
def test_digits_end_where_float32_ends(seed) -> None:
    assert abs(accuracy(seed, True) - accuracy(seed, False)) < 0.01

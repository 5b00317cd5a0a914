"""The exercises of the chapter mixed_precision: solutions pass, stubs fail, each known mistake gets its own hint."""

import json
from pathlib import Path

import numpy as np
import pytest

from odyssey import Tensor
from odyssey.exercises.mixed_precision import check_best_scale, check_next_scale, check_spacing, check_train_step
from odyssey.optim import SGD
from odyssey.optim.clipping import clip_grad_norm
from odyssey.optim.mixed_precision import GradScaler
from tests.exercises import hint

ROOT = Path(__file__).parents[2]

# ---- spacing ----


def spacing(shift=-1, floor=True, size=abs, zero=None, p_used=None):
    def answer(x, p, e_min):
        if x == 0 and zero is not None:
            return zero
        e = int(np.frexp(size(x))[1]) + shift if x else e_min
        return 2.0 ** ((max(e, e_min) if floor else e) - (p_used or p) + 1)

    return answer


def test_numpys_spacing_is_what_the_formula_says():
    assert check_spacing(spacing()) is True
    for dtype, p, e_min in ((np.float16, 11, -14), (np.float32, 24, -126)):
        for x in (1.0, 0.1, 1000.0, 2.0**-20):
            assert spacing()(x, p, e_min) == np.spacing(dtype(x))


@pytest.mark.parametrize(
    "answer, words",
    [
        (spacing(shift=0), "twice too large"),
        (spacing(shift=-2), "half a spacing"),
        (spacing(floor=False), "is subnormal"),
        (spacing(zero=0.0), "from 0 the next number is the smallest subnormal"),
        (spacing(p_used=11), "use both arguments"),
        (lambda x, p, e_min: 2.0 ** (1 - p), "the spacing grows with x"),
        (lambda x, p, e_min: np.copysign(spacing()(x, p, e_min), x), "the spacing is that of 1.5, a positive number"),
        (lambda x, p, e_min: abs(x) * 2.0**-10, "at 1.5 float16's spacing is"),
        (lambda x, p, e_min: None, "returns nothing"),
        (lambda x, p, e_min: undefined, "your code raised NameError"),  # noqa: F821
    ],
)
def test_mistakes_with_the_spacing(answer, words, capsys):
    assert words in hint(check_spacing, answer, capsys)


# ---- the state machine ----


def machine(shrink=0.5, grow=2.0, reset_after=0, reset_grown=True, late=0, count=1, grow_first=False):
    def answer(s, c, overflow, interval):
        if grow_first and c + 1 == interval:
            return s * grow, 0
        if overflow:
            return s * shrink, reset_after if reset_after is not None else c
        c += count
        if c == interval + late:
            return s * grow, 0 if reset_grown else c
        return s, c

    return answer


def test_the_scaler_of_the_package_passes():
    def answer(s, c, overflow, interval):
        scaler = GradScaler(init_scale=s, growth_interval=interval)
        scaler._growth_tracker = c
        scaler.adapt(overflow)
        return scaler.get_scale(), scaler._growth_tracker

    assert check_next_scale(answer) is True
    assert check_next_scale(machine()) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (machine(shrink=2.0), "grows after an overflow"),
        (machine(shrink=0.25), "the scale 8 becomes 4, you give 2"),
        (machine(reset_after=None), "must put the counter back to 0"),
        (machine(count=0), "raises the counter from 3 to 4"),
        (machine(late=-1), "one too early"),
        (machine(late=1), "compare after the counter was raised"),
        (machine(grow=4.0), "becomes 16, you give 32"),
        (machine(reset_grown=False), "after doubling the counter begins again"),
        (machine(grow_first=True), "it must not double first"),
        (lambda s, c, o, n: (s / 2, 0) if o else (2 * s, c + 1), "leaves the scale at 8"),
        (lambda s, c, o, n: s, "expected a pair"),
        (lambda s, c, o, n: None, "returns nothing"),
    ],
)
def test_mistakes_with_the_state_machine(answer, words, capsys):
    assert words in hint(check_next_scale, answer, capsys)


# ---- a training step ----


def step(order):
    """A training step that makes these calls."""

    def answer(loss, params, optimizer, scaler, max_norm):
        calls = {
            "zero": optimizer.zero_grad,
            "backward": lambda: scaler.scale(loss).backward(),
            "plain backward": lambda: loss.backward(),
            "unscale": lambda: scaler.unscale_(optimizer),
            "clip": lambda: clip_grad_norm(params, max_norm),
            "step": lambda: scaler.step(optimizer),
            "plain step": optimizer.step,
            "update": scaler.update,
        }
        for name in order.split(", "):
            calls[name]()

    return answer


@pytest.mark.parametrize(
    "order",
    [
        "zero, backward, unscale, clip, step, update",
        "backward, unscale, clip, step, update, zero",
    ],
)
def test_the_right_order_passes_unless_old_gradients_stay(order, capsys):
    right = order.startswith("zero")
    assert check_train_step(step(order)) is right
    assert ("old gradients" in capsys.readouterr().out) is not right


@pytest.mark.parametrize(
    "order, words",
    [
        ("zero, backward, clip, step, update", "clip_grad_norm saw it with the scale"),
        ("zero, backward, clip, unscale, step, update", "clip_grad_norm saw it with the scale"),
        ("zero, backward, unscale, step, clip, update", "was not clipped"),
        ("zero, backward, step, update", "was not clipped"),
        ("zero, backward, unscale, clip, step", "the second step raises"),
        ("zero, backward, unscale, clip, update", "no parameter has moved"),
        ("zero, backward, plain step", "1024 times too long"),
        ("zero, plain backward, unscale, clip, step, update", "1024 times too short"),
        ("zero, backward, unscale, clip, step, plain step, update", "one call made 2 steps"),
        ("zero, backward, unscale, clip, plain step, update", "a step was made although"),
        ("backward, zero, step, update", "no parameter of this optimizer has a gradient"),
        ("zero, backward, unscale, unscale, step, update", "your code raised RuntimeError"),
    ],
)
def test_mistakes_in_the_order(order, words, capsys):
    assert words in hint(check_train_step, step(order), capsys)


# ---- the best fixed scale ----


def best(bound=65520.0, largest=lambda g: np.max(np.abs(g)), whole=True, strict=True):
    def answer(g):
        ratio = bound / float(largest(g))
        s = 2.0 ** np.floor(np.log2(ratio)) if whole else ratio
        return s / 2 if strict and s >= ratio else s

    return answer


def test_other_right_answers_pass():
    def doubling(g):
        s = 2.0**-30
        while np.isfinite((g * np.float32(2 * s)).astype(np.float16)).all():
            s *= 2
        return s

    with np.errstate(all="ignore"):
        assert check_best_scale(doubling) is True
    assert check_best_scale(best()) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (best(whole=False), "is no power of two"),
        (best(largest=np.max), "take the largest size, whatever its sign"),
        (best(largest=lambda g: np.median(np.abs(g))), "is infinite in float16"),
        (best(bound=30000.0), "would do as well"),
        (best(bound=65504.0), "the bound is 65520"),
        (best(strict=False), "65520 itself is rounded to infinity"),
        (lambda g: 1.0, "would do as well"),
        (lambda g: None, "returns nothing"),
    ],
)
def test_mistakes_with_the_best_scale(answer, words, capsys):
    assert words in hint(check_best_scale, answer, capsys)


# ---- the stored runs of PyTorch ----


def stored():
    with np.load(ROOT / "tests" / "reference" / "mixed_precision.npz") as reference:
        return dict(reference)


@pytest.mark.parametrize("case", range(7))
def test_scales_counters_and_parameters_are_those_of_pytorch(case):
    reference = stored()
    options = json.loads(str(reference["cases"]))[case]
    p = Tensor(np.ones(5, np.float32), True)
    optimizer = SGD([p], lr=0.1 * 2.0**20, momentum=0.9)
    scaler = GradScaler(**options)
    steps = zip(reference[f"gradients{case}"], reference[f"overflows{case}"], strict=True)
    for t, (g, overflow) in enumerate(steps):
        loss = np.sum(p * g) * 2.0**-20
        optimizer.zero_grad()
        with np.errstate(over="ignore"):
            scaler.scale(loss).backward()
            if overflow and options.get("enabled", True):
                p.grad[2] = np.inf if overflow > 0 else np.nan
            scaler.step(optimizer)
            scaler.update()
        assert np.isclose(scaler.get_scale(), reference[f"scales{case}"][t], rtol=1e-6), t
        assert scaler.state_dict().get("_growth_tracker", 0) == reference[f"trackers{case}"][t], t
        np.testing.assert_allclose(p.data, reference[f"path{case}"][t], rtol=1e-4, atol=1e-5)

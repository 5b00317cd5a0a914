"""One step of Adam, and clipping by the norm, against PyTorch and the textbook formulas in NumPy.

    python benchmarks/optim.py [rounds] [--store]

Each runs in a process of its own, and they take turns, so that they meet the same machine: first all on one thread,
then, for the large models, all with as many threads as there are processors. Times are milliseconds for a step; a ratio
below 1 says that we are faster. PyTorch is needed (the extra `bench`).
"""

import os
import sys
import tracemalloc
from collections.abc import Iterator
from functools import partial
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from tools.records import Benchmark
from tools.turns import Maker, Work, in_turns

MODELS: dict[str, list[tuple[int, ...]]] = {  # shapes of the parameters
    "100 tensors of 100,000": [(100_000,)] * 100,
    "100 tensors of 10,000": [(10_000,)] * 100,
    "MLP 784-256-128-10": [(784, 256), (256,), (256, 128), (128,), (128, 10), (10,)],
    "MLP 64-32-32-10": [(64, 32), (32,), (32, 32), (32,), (32, 10), (10,)],
}
ADAM_GOALS = {  # ours / the other's, on one thread
    "100 tensors of 100,000": {"PyTorch, foreach": 0.5, "textbook formula": 0.45},
    "MLP 64-32-32-10": {"PyTorch, foreach": 0.8},
}
CLIPPING_GOALS = {"PyTorch": 1.0}
ARRAYS = list[np.ndarray]


def normal(model: str, rng: np.random.Generator) -> ARRAYS:
    """Arrays of the shapes of one of the MODELS."""
    return [rng.standard_normal(shape).astype("f") for shape in MODELS[model]]


def adam_data(model: str) -> tuple[ARRAYS, ARRAYS]:
    """Weights and gradients."""
    rng = np.random.default_rng(0)
    return normal(model, rng), normal(model, rng)


def ours(model: str, **options: Any) -> Work:
    """A step of `odyssey.optim.Adam`."""
    from odyssey import Tensor
    from odyssey.optim import Adam

    weights, grads = adam_data(model)
    params = [Tensor(w, requires_grad=True) for w in weights]
    for p, g in zip(params, grads, strict=True):
        p.grad = g
    return Adam(params, **options).step


def textbook(model: str) -> Work:
    """The formula as it is printed in the paper, one parameter after the other."""
    w, grads = adam_data(model)
    m, v = [np.zeros_like(a) for a in w], [np.zeros_like(a) for a in w]
    t = 0

    def step() -> None:
        nonlocal t
        t += 1
        for i, g in enumerate(grads):
            m[i] = 0.9 * m[i] + 0.1 * g
            v[i] = 0.999 * v[i] + 0.001 * g**2
            m_hat, v_hat = m[i] / (1 - 0.9**t), v[i] / (1 - 0.999**t)
            w[i] = w[i] - 0.001 * m_hat / (np.sqrt(v_hat) + 1e-8)

    return step


def pytorch(model: str, **options: Any) -> Work:
    """A step of `torch.optim.Adam`."""
    import torch

    weights, grads = adam_data(model)
    params = [torch.tensor(w, requires_grad=True) for w in weights]
    for p, g in zip(params, grads, strict=True):
        p.grad = torch.tensor(g)
    return torch.optim.Adam(params, **options).step


def ten_million() -> ARRAYS:
    """Gradients, in a hundred arrays."""
    return normal("100 tensors of 100,000", np.random.default_rng(0))


def thresholds(cut: bool) -> Iterator[float]:
    """Out of reach; or, to `cut`, each a thousandth below the norm that the one before has left."""
    limit = 3000.0 if cut else 1e9
    while True:
        yield limit
        limit *= 0.999 if cut else 1


def our_clip(cut: bool) -> Work:
    """`odyssey.optim.clip_grad_norm`."""
    from odyssey.optim import clip_grad_norm

    grads, limits = ten_million(), thresholds(cut)
    return lambda: clip_grad_norm(grads, next(limits))


def torch_clip(cut: bool) -> Work:
    """`torch.nn.utils.clip_grad_norm_`."""
    import torch

    grads, limits = ten_million(), thresholds(cut)
    params = [torch.zeros(g.shape, requires_grad=True) for g in grads]
    for p, g in zip(params, grads, strict=True):
        p.grad = torch.tensor(g)
    return lambda: torch.nn.utils.clip_grad_norm_(params, next(limits))


def textbook_clip(cut: bool) -> Work:
    """The norm of all gradients by the formula, and then a factor for each."""
    grads, limits = ten_million(), thresholds(cut)

    def clip() -> None:
        norm, limit = np.sqrt(sum(np.sum(g**2) for g in grads)), next(limits)
        if norm > limit:
            for i, g in enumerate(grads):
                grads[i] = g * (limit / norm)

    return clip


def allocated(work: Work) -> int:
    """Bytes that a step allocates at its peak, once it has run."""
    work()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak - before


def compare(name: str, makers: dict[str, Maker], bench: Benchmark, threads: int, goals: dict[str, float]) -> None:
    """Print what each of the `makers` needs for a piece of work, and keep how ours compares with the others."""
    times = {peer: median(found) for peer, found in in_turns(makers, bench.rounds, threads=threads).items()}
    for peer, found in times.items():
        print(f"  {peer:<22} {found:>10.3f} ms   ours / it {times['ours'] / found:>6.2f}")
        if not peer.startswith("ours"):
            goal = goals.get(peer) if threads == 1 else None
            bench.add(name, peer, times["ours"], found, unit="ms", threads=threads, goal=goal)
    print(flush=True)


def adam_table(model: str, bench: Benchmark, threads: int) -> None:
    """Print a step of Adam for one of the MODELS."""
    makers = {
        "ours": partial(ours, model),
        "PyTorch, foreach": partial(pytorch, model, foreach=True),
        "PyTorch, default": partial(pytorch, model),
        "PyTorch, fused": partial(pytorch, model, fused=True),
        "textbook formula": partial(textbook, model),
        "ours, float16 states": partial(ours, model, state_dtype=np.float16),
    }
    size = sum(map(prod, MODELS[model]))
    print(f"{model}: {size:,} parameters; a step allocates {allocated(ours(model)):,} bytes")
    compare(f"Adam: {model}", makers, bench, threads, ADAM_GOALS.get(model, {}))


def clipping_table(bench: Benchmark, threads: int) -> None:
    """Print clipping by the norm of ten million gradients."""
    clips = {"ours": our_clip, "PyTorch": torch_clip, "textbook formula": textbook_clip}
    for words, cut in (("only measured", False), ("and cut", True)):
        name = f"norm of 10,000,000 numbers, {words}"
        print(name)
        compare(name, {peer: partial(clip, cut) for peer, clip in clips.items()}, bench, threads, CLIPPING_GOALS)


def main() -> None:
    """Print the tables."""
    bench = Benchmark(__doc__, 8)
    print(f"{bench.versions()}, {bench.rounds} rounds\n")
    everything = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for threads, models in ((1, list(MODELS)), (everything, list(MODELS)[:2])):
        print(f"== threads: {threads}\n")
        for model in models:
            adam_table(model, bench, threads)
        clipping_table(bench, threads)
    bench.finish()


if __name__ == "__main__":
    main()

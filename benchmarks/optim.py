"""One step of Adam, and clipping by the norm, against PyTorch and the textbook formulas in NumPy.

    python benchmarks/optim.py [rounds] [--store]

All run in one process, in turns, so that they meet the same machine: first all on one thread, then, for the large
models, all as they come, with as many threads as each library takes. Times are milliseconds for a step; a ratio below 1
says that we are faster. PyTorch is needed (the extra `bench`).
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # read when the libraries are loaded

import sys  # noqa: E402
import tracemalloc  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from statistics import median  # noqa: E402
from time import perf_counter  # noqa: E402
from typing import Any  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np  # noqa: E402

from odyssey import Tensor  # noqa: E402
from odyssey.optim import Adam, clip_grad_norm  # noqa: E402
from odyssey.optim.sgd import processors  # noqa: E402
from tools.records import Benchmark  # noqa: E402

MODELS: dict[str, tuple[list[tuple[int, ...]], int]] = {  # shapes, and steps in a round
    "100 tensors of 100,000": ([(100_000,)] * 100, 1),
    "100 tensors of 10,000": ([(10_000,)] * 100, 2),
    "MLP 784-256-128-10": ([(784, 256), (256,), (256, 128), (128,), (128, 10), (10,)], 5),
    "MLP 64-32-32-10": ([(64, 32), (32,), (32, 32), (32,), (32, 10), (10,)], 50),
}
ADAM_GOALS = {  # ours / the other's, on so many threads
    ("100 tensors of 100,000", "PyTorch, foreach", 1): 0.5,
    ("100 tensors of 100,000", "textbook formula", 1): 0.45,
    ("MLP 64-32-32-10", "PyTorch, foreach", 1): 0.8,
}
CLIPPING_GOALS = {("PyTorch", 1): 1.0}
ARRAYS = list[np.ndarray]


def ours(weights: ARRAYS, grads: ARRAYS, **options: Any) -> Callable[[], Any]:
    """A step of `odyssey.optim.Adam`."""
    params = [Tensor(w.copy(), requires_grad=True) for w in weights]
    for p, g in zip(params, grads, strict=True):
        p.grad = g
    return Adam(params, **options).step


def textbook(weights: ARRAYS, grads: ARRAYS) -> Callable[[], Any]:
    """The formula as it is printed in the paper, one parameter after the other."""
    w = [a.copy() for a in weights]
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


def pytorch(torch: Any, weights: ARRAYS, grads: ARRAYS, **options: Any) -> Callable[[], Any]:
    """A step of `torch.optim.Adam`."""
    params = [torch.tensor(w, requires_grad=True) for w in weights]
    for p, g in zip(params, grads, strict=True):
        p.grad = torch.tensor(g)
    return torch.optim.Adam(params, **options).step


def clipping(torch: Any, grads: ARRAYS, max_norm: float) -> dict[str, Callable[[], Any]]:
    """`clip_grad_norm`, PyTorch's, and the textbook's."""
    params = [torch.zeros(g.shape, requires_grad=True) for g in grads]
    for p, g in zip(params, grads, strict=True):
        p.grad = torch.tensor(g)
    mine, plain = [g.copy() for g in grads], [g.copy() for g in grads]

    def textbook_clip() -> None:
        norm = np.sqrt(sum(np.sum(g**2) for g in plain))
        if norm > max_norm:
            for i, g in enumerate(plain):
                plain[i] = g * (max_norm / norm)

    return {
        "ours": lambda: clip_grad_norm(mine, max_norm),
        "PyTorch": lambda: torch.nn.utils.clip_grad_norm_(params, max_norm),
        "textbook formula": textbook_clip,
    }


def measure(works: dict[str, Callable[[], Any]], rounds: int, inner: int) -> dict[str, float]:
    """Median milliseconds of a step of each, taken in turns that begin with another one in each round.

    What runs before leaves its data in the cache: a fixed order would favour some.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    names = list(works)
    for i in range(rounds + 2):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            work = works[name]
            start = perf_counter()
            for _ in range(inner):
                work()
            if i > 1:  # the first two warm up
                times[name].append((perf_counter() - start) * 1e3 / inner)
    return {name: median(found) for name, found in times.items()}


def allocated(work: Callable[[], Any]) -> int:
    """Bytes that a step allocates at its peak, once it has run."""
    work()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak - before


def adam_table(torch: Any, model: str, bench: Benchmark, threads: int) -> None:
    """Print a step of Adam for one of the MODELS."""
    shapes, inner = MODELS[model]
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(s).astype("f") for s in shapes]
    grads = [rng.standard_normal(s).astype("f") for s in shapes]
    works = {
        "ours": ours(weights, grads),
        "PyTorch, foreach": pytorch(torch, weights, grads, foreach=True),
        "PyTorch, default": pytorch(torch, weights, grads),
        "PyTorch, fused": pytorch(torch, weights, grads, fused=True),
        "textbook formula": textbook(weights, grads),
        "ours, float16 states": ours(weights, grads, state_dtype=np.float16),
    }
    times = measure(works, bench.rounds, inner)
    size = sum(w.size for w in weights)
    print(f"{model}: {size:,} parameters; a step allocates {allocated(works['ours']):,} bytes")
    for name, found in times.items():
        print(f"  {name:<22} {found:>10.3f} ms   ours / it {times['ours'] / found:>6.2f}")
        if not name.startswith("ours"):
            goal = ADAM_GOALS.get((model, name, threads))
            bench.add(f"Adam: {model}", name, times["ours"], found, unit="ms", threads=threads, goal=goal)
    print(flush=True)


def clipping_table(torch: Any, bench: Benchmark, threads: int) -> None:
    """Print clipping by the norm of ten million gradients."""
    rng = np.random.default_rng(0)
    grads = [rng.standard_normal(100_000).astype("f") for _ in range(100)]
    for words, max_norm in (("only measured", 1e9), ("and cut", 1.0)):
        times = measure(clipping(torch, grads, max_norm), bench.rounds, 1)
        print(f"norm of 10,000,000 numbers, {words}")
        for name, found in times.items():
            print(f"  {name:<22} {found:>10.3f} ms   ours / it {times['ours'] / found:>6.2f}")
            if name != "ours":
                goal = CLIPPING_GOALS.get((name, threads))
                title = f"norm of 10,000,000 numbers, {words}"
                bench.add(title, name, times["ours"], found, unit="ms", threads=threads, goal=goal)
        print(flush=True)


def main() -> None:
    """Print the tables."""
    import torch

    bench = Benchmark(__doc__, 15)
    print(f"NumPy {np.__version__}, PyTorch {torch.__version__}, {bench.rounds} rounds\n")
    everything = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for threads, models in ((1, list(MODELS)), (everything, list(MODELS)[:2])):
        os.environ["OMP_NUM_THREADS"] = str(threads)  # read by each new optimizer of ours
        torch.set_num_threads(threads)
        print(f"== PyTorch on {threads} threads, ours on {processors()}\n")
        for model in models:
            adam_table(torch, model, bench, threads)
        clipping_table(torch, bench, threads)
    bench.finish()


if __name__ == "__main__":
    main()

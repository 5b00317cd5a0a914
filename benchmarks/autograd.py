"""The tape against PyTorch eager: chains of small operations, a small network, and the import.

    python benchmarks/autograd.py [rounds] [--store]

Each runs in a process of its own, and they take turns, on one thread, so that they meet the same machine. Times are
milliseconds; the ratio is ours / PyTorch's, so that below 1 we are faster. PyTorch is needed (the extra `bench`), for
nothing but this comparison.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

ROOT = str(Path(__file__).parents[1])
sys.path.insert(0, ROOT)

import numpy as np  # noqa: E402

from tools.records import Benchmark  # noqa: E402
from tools.turns import VARIABLES, Work, in_turns  # noqa: E402

N = 1000
CHAIN_GOAL, IMPORT_GOAL = 0.45, 1.2  # ours / the other's
Step = Callable[[Any], Any]
CHAINS = (
    "x * 1.001 + 0.001",
    "x * array + array",
    "tanh(x)",
    "sin(x)",
    "np.tanh(x)",
    "tanh(-(x * 1.001 + x0))",
)


def numbers() -> tuple[np.ndarray, np.ndarray]:
    """Where a chain starts, and a factor near 1."""
    rng = np.random.default_rng(0)
    return rng.standard_normal(64).astype("f"), (1 + 1e-3 * rng.standard_normal(64)).astype("f")


def chain(name: str, x: Any, array: Any, tanh: Step, sin: Step, numpy_tanh: Step) -> Work:
    """Forward and backward of 1000 operations in a row on 64 float32 numbers, by the functions of a library."""
    steps: list[tuple[Step, int]] = [
        (lambda y: y * 1.001 + 0.001, N // 2),
        (lambda y: y * array + array, N // 2),
        (tanh, N),
        (sin, N),
        (numpy_tanh, N),
        (lambda y: (-(y * 1.001 + x)).tanh(), N // 4),
    ]
    step, times = dict(zip(CHAINS, steps, strict=True))[name]

    def work() -> None:
        y = x
        for _ in range(times):
            y = step(y)
        y.sum().backward()

    return work


def our_chain(name: str) -> Work:
    from odyssey import Tensor, ops

    start, factor = numbers()
    return chain(name, Tensor(start, requires_grad=True), factor, ops.tanh, ops.sin, np.tanh)


def torch_chain(name: str) -> Work:
    import torch

    start, factor = map(torch.tensor, numbers())
    return chain(name, start.requires_grad_(), factor, torch.tanh, torch.sin, torch.tanh)


def batch() -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """64 of the digits, their classes, and the weights of a small network."""
    from odyssey.data import load_digits

    X, y = load_digits()["train"]
    rng = np.random.default_rng(0)
    start = [rng.normal(0, 0.1, shape).astype("f") for shape in [(64, 32), (32,), (32, 10), (10,)]]
    return X[:64].reshape(64, 64), y[:64], start


def our_network(X: np.ndarray, y: np.ndarray, start: list[np.ndarray]) -> Work:
    """One step of gradient descent on a batch of the digits: 64 pixels, 32 hidden units, 10 classes."""
    from odyssey import Tensor, ops

    weights, rows = [Tensor(a, requires_grad=True) for a in start], np.arange(64)

    def work() -> None:
        W1, b1, W2, b2 = weights
        scores = np.tanh(X @ W1 + b1) @ W2 + b2
        loss = (ops.logsumexp(scores, axis=1) - scores[rows, y]).mean()
        loss.backward()
        for w in weights:
            w.data -= 0.1 * w.grad
            w.grad = None

    return work


def torch_network(X: np.ndarray, y: np.ndarray, start: list[np.ndarray]) -> Work:
    import torch

    weights = [torch.tensor(a, requires_grad=True) for a in start]
    rows, images, digits = torch.arange(64), torch.tensor(X), torch.tensor(y)

    def work() -> None:
        W1, b1, W2, b2 = weights
        scores = torch.tanh(images @ W1 + b1) @ W2 + b2
        loss = (torch.logsumexp(scores, 1) - scores[rows, digits]).mean()
        loss.backward()
        with torch.no_grad():
            for w in weights:
                w -= 0.1 * w.grad
                w.grad = None

    return work


def row(name: str, ours: list[float], other: list[float]) -> str:
    """One line of the table: medians, minima and their ratios."""
    a, b = median(ours), median(other)
    c, d = min(ours), min(other)
    return f"{name:<28} {a:>9.3f} {b:>9.3f} {a / b:>7.2f}   {c:>9.3f} {d:>9.3f} {c / d:>7.2f}"


def import_times(rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds that `import odyssey` and `import numpy` take in a new interpreter, in turns."""
    code = "from time import perf_counter as t; s = t(); import {}; print((t() - s) * 1e3)"
    times: tuple[list[float], list[float]] = ([], [])
    with TemporaryDirectory() as folder:
        # Both find their compiled bytecode here, whatever this machine keeps or forbids elsewhere.
        environment = {**os.environ, **dict.fromkeys(VARIABLES, "1"), "PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for i in range(rounds + 1):
            for module, list_ in zip(("odyssey", "numpy"), times, strict=True):
                command = [sys.executable, "-c", code.format(module)]
                run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
                if i:  # the first compiles
                    list_.append(float(run.stdout))
    return times


def main() -> None:
    """Print the table."""
    bench = Benchmark(__doc__, 15)
    rounds, common = bench.rounds, {"unit": "ms", "threads": 1}
    print(f"{bench.versions()}, one thread, {rounds} rounds, milliseconds\n")
    print(f"{'forward + backward':<28} {'median':^27}   {'minimum':^27}")
    heads = f"{'ours':>9} {'PyTorch':>9} {'ratio':>7}"
    print(f"{'1000 ops, shape (64,)':<28} {heads}   {heads}")
    for name in CHAINS:
        times = in_turns({"ours": partial(our_chain, name), "PyTorch": partial(torch_chain, name)}, rounds)
        print(row(name, times["ours"], times["PyTorch"]), flush=True)
        medians = median(times["ours"]), median(times["PyTorch"])
        bench.add(f"1000 ops on 64 numbers: {name}", "PyTorch", *medians, goal=CHAIN_GOAL, **common)
    name, data = "two-layer network, one step", batch()
    times = in_turns({"ours": partial(our_network, *data), "PyTorch": partial(torch_network, *data)}, rounds)
    print("\n" + row(name, times["ours"], times["PyTorch"]), flush=True)
    bench.add(name, "PyTorch", median(times["ours"]), median(times["PyTorch"]), goal=None, **common)
    ours, numpy = import_times(max(rounds // 3, 3))
    print("\n" + row("import, against NumPy's", ours, numpy))
    bench.add("import odyssey", "import numpy", median(ours), median(numpy), goal=IMPORT_GOAL, **common)
    bench.finish()


if __name__ == "__main__":
    main()

"""The tape against PyTorch eager: chains of small operations, a small network, and the import.

    python benchmarks/autograd.py [rounds] [--store]

Both run in one process, in turns, on one thread, so that they meet the same machine. Times are
milliseconds; the ratio is ours / PyTorch's, so that below 1 we are faster. PyTorch is needed (the
extra `bench`), for nothing but this comparison.
"""

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # read when the libraries are loaded

import subprocess  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from statistics import median  # noqa: E402
from tempfile import TemporaryDirectory  # noqa: E402
from time import perf_counter  # noqa: E402
from typing import Any  # noqa: E402

ROOT = str(Path(__file__).parents[1])
sys.path.insert(0, ROOT)

import numpy as np  # noqa: E402

from odyssey import Tensor, ops  # noqa: E402
from odyssey.data import load_digits  # noqa: E402
from tools.records import Benchmark  # noqa: E402

N = 1000
CHAIN_GOAL, IMPORT_GOAL = 0.45, 1.2  # ours / the other's
Work = Callable[[], Any]


def chains(torch: Any) -> dict[str, tuple[Work, Work]]:
    """Forward and backward of 1000 operations in a row on 64 float32 numbers."""
    rng = np.random.default_rng(0)
    start, factor = rng.standard_normal(64).astype("f"), (1 + 1e-3 * rng.standard_normal(64)).astype("f")
    mine, theirs = Tensor(start, requires_grad=True), torch.tensor(start, requires_grad=True)
    array = torch.tensor(factor)

    def repeat(x: Any, step: Callable[[Any], Any], times: int) -> Work:
        def work() -> None:
            y = x
            for _ in range(times):
                y = step(y)
            y.sum().backward()

        return work

    return {
        "x * 1.001 + 0.001": (
            repeat(mine, lambda y: y * 1.001 + 0.001, N // 2),
            repeat(theirs, lambda y: y * 1.001 + 0.001, N // 2),
        ),
        "x * array + array": (
            repeat(mine, lambda y: y * factor + factor, N // 2),
            repeat(theirs, lambda y: y * array + array, N // 2),
        ),
        "tanh(x)": (repeat(mine, ops.tanh, N), repeat(theirs, torch.tanh, N)),
        "sin(x)": (repeat(mine, ops.sin, N), repeat(theirs, torch.sin, N)),
        "np.tanh(x)": (repeat(mine, np.tanh, N), repeat(theirs, torch.tanh, N)),
        "tanh(-(x * 1.001 + x0))": (
            repeat(mine, lambda y: (-(y * 1.001 + mine)).tanh(), N // 4),
            repeat(theirs, lambda y: (-(y * 1.001 + theirs)).tanh(), N // 4),
        ),
    }


def network(torch: Any) -> dict[str, tuple[Work, Work]]:
    """One step of gradient descent on a batch of the digits: 64 pixels, 32 hidden units, 10 classes."""
    X, y = load_digits()["train"]
    X, y = X[:64].reshape(64, 64), y[:64]
    rng = np.random.default_rng(0)
    start = [rng.normal(0, 0.1, shape).astype("f") for shape in [(64, 32), (32,), (32, 10), (10,)]]
    mine = [Tensor(a.copy(), requires_grad=True) for a in start]
    theirs = [torch.tensor(a, requires_grad=True) for a in start]
    rows, images, digits = np.arange(64), torch.tensor(X), torch.tensor(y)
    torch_rows = torch.arange(64)

    def ours() -> None:
        W1, b1, W2, b2 = mine
        scores = np.tanh(X @ W1 + b1) @ W2 + b2
        loss = (ops.logsumexp(scores, axis=1) - scores[rows, y]).mean()
        loss.backward()
        for w in mine:
            w.data -= 0.1 * w.grad
            w.grad = None

    def pytorch() -> None:
        W1, b1, W2, b2 = theirs
        scores = torch.tanh(images @ W1 + b1) @ W2 + b2
        loss = (torch.logsumexp(scores, 1) - scores[torch_rows, digits]).mean()
        loss.backward()
        with torch.no_grad():
            for w in theirs:
                w -= 0.1 * w.grad
                w.grad = None

    return {"two-layer network, one step": (ours, pytorch)}


def measure(ours: Work, pytorch: Work, rounds: int, inner: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each round, of both, taken in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for i in range(rounds + 2):
        for work, list_ in zip((ours, pytorch), times, strict=True):
            start = perf_counter()
            for _ in range(inner):
                work()
            if i > 1:  # the first two warm up
                list_.append((perf_counter() - start) * 1e3 / inner)
    return times


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
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
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
    import torch

    bench = Benchmark(__doc__, 30)
    rounds, common = bench.rounds, {"unit": "ms", "threads": 1}
    torch.set_num_threads(1)
    print(f"NumPy {np.__version__}, PyTorch {torch.__version__}, one thread, {rounds} rounds, milliseconds\n")
    print(f"{'forward + backward':<28} {'median':^27}   {'minimum':^27}")
    heads = f"{'ours':>9} {'PyTorch':>9} {'ratio':>7}"
    print(f"{'1000 ops, shape (64,)':<28} {heads}   {heads}")
    for name, works in chains(torch).items():
        ours, pytorch = measure(*works, rounds, 1)
        print(row(name, ours, pytorch), flush=True)
        title = f"1000 ops on 64 numbers: {name}"
        bench.add(title, "PyTorch", median(ours), median(pytorch), goal=CHAIN_GOAL, **common)
    for name, works in network(torch).items():
        ours, pytorch = measure(*works, rounds, 10)
        print("\n" + row(name, ours, pytorch), flush=True)
        bench.add(name, "PyTorch", median(ours), median(pytorch), goal=None, **common)
    ours, numpy = import_times(max(rounds // 3, 3))
    print("\n" + row("import, against NumPy's", ours, numpy))
    bench.add("import odyssey", "import numpy", median(ours), median(numpy), goal=IMPORT_GOAL, **common)
    bench.finish()


if __name__ == "__main__":
    main()

"""Two threads for one step: the same bits as one thread, errors, and what the system grants."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from odyssey import Tensor, optim
from odyssey.optim.sgd import BLOCK, WORTH_SHARING, processors, share
from odyssey.optim.sgd.optimizer import Workspace
from tests import needs
from tests.optim.test_sgd import allocated_by

pytestmark = needs.threads

SHAPES = [(5 * BLOCK + 7,), (300, 1000), (20,), (3,), (BLOCK, 2)]
CASES = [
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (optim.Adagrad, {}),
    (optim.RMSProp, {"momentum": 0.9, "centered": True}),
    (optim.Adam, {"amsgrad": True, "weight_decay": 0.1}),
    (optim.Adam, {"state_dtype": np.float16}),
    (optim.AdamW, {}),
    (optim.LARS, {"lr": 0.1, "weight_decay": 0.1}),
    (optim.Lion, {"weight_decay": 0.1}),
    (optim.LAMB, {"weight_decay": 0.1}),
]


def trained(kind, options, threads: int, shapes=SHAPES) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    params = [Tensor(rng.standard_normal(s).astype(np.float32), True) for s in shapes]
    optimizer = kind(params, **options)
    optimizer._workspaces = [Workspace() for _ in range(threads)]
    for _ in range(3):
        for p in params:
            p.grad = rng.standard_normal(p.shape).astype(np.float32)
        optimizer.step()
    state = optimizer.state_dict()["state"]
    return [p.data for p in params] + [np.asarray(v) for s in state.values() for v in s.values()]


@pytest.mark.parametrize(("kind", "options"), CASES, ids=lambda x: getattr(x, "__name__", None))
def test_two_threads_give_the_same_bits_as_one(kind, options) -> None:
    assert sum(map(np.prod, SHAPES)) > WORTH_SHARING
    for one, two in zip(trained(kind, options, 1), trained(kind, options, 2), strict=True):
        np.testing.assert_array_equal(one, two)


def test_muon_leaves_the_threads_to_blas() -> None:
    """Two threads with products that have two threads each took twice as long as one."""
    seen = set()

    class Watched(optim.Muon):
        def update(self, *args) -> None:
            seen.add(threading.get_ident())
            super().update(*args)

    shapes = [(400, 700), (500, 600), (16, 8)]
    assert sum(map(np.prod, shapes)) > WORTH_SHARING
    one, two = (trained(Watched, {"lr": 0.1}, threads, shapes) for threads in (1, 2))
    assert seen == {threading.get_ident()}
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_piece_is_worked_once(threads) -> None:
    done = []
    share(list(range(1000)), lambda piece, thread: done.append((piece, thread)), threads)
    assert sorted(piece for piece, _ in done) == list(range(1000))
    assert {thread for _, thread in done} <= set(range(threads))


def test_two_threads_really_work() -> None:
    seen = set()

    def work(piece: int, thread: int) -> None:
        seen.add(threading.get_ident())
        time.sleep(0.01)

    share(list(range(10)), work, 2)
    assert len(seen) == 2


def test_an_error_in_either_thread_is_raised_and_ends_the_others() -> None:
    before = threading.active_count()
    for culprit in (0, 1):
        done = []

        def work(piece: int, thread: int, culprit=culprit, done=done) -> None:
            time.sleep(0.001)
            if thread == culprit:
                raise IndexError(f"thread {thread}")
            done.append(piece)

        with pytest.raises(IndexError, match=f"thread {culprit}"):
            share(list(range(500)), work, 2)
        assert len(done) < 400
        assert threading.active_count() == before


def test_errstate_reaches_the_second_thread() -> None:
    def work(piece: int, thread: int) -> None:
        time.sleep(0.005)
        if thread:
            np.float32(1) / np.zeros(1, np.float32)

    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        share(list(range(20)), work, 2)
    with np.errstate(divide="ignore"):
        share(list(range(20)), work, 2)


def test_the_number_of_threads(monkeypatch) -> None:
    granted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    for text, expected in (("1", 1), ("2", 2), ("64", 2), ("0", 1), ("many", 2)):
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert processors() == min(expected, granted)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert processors() == min(2, granted)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_an_optimizer_works_after_a_fork() -> None:
    code = """
import os
import numpy as np
from odyssey import Tensor, optim

p = Tensor(np.zeros(2_000_000, np.float32), True)
optimizer = optim.Adam([p], lr=0.5)
p.grad = np.ones(2_000_000, np.float32)
optimizer.step()
child = os.fork()
optimizer.step()
if not child:
    os._exit(0 if abs(p.data + 1).max() < 1e-6 else 1)
assert os.waitpid(child, 0)[1] == 0
print(p.data[-1])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert abs(float(out.stdout) + 1) < 1e-6


def test_transposed_gradients_allocate_nothing_that_grows() -> None:
    params = [Tensor(np.zeros((300, 400), np.float32), True) for _ in range(12)]
    for p in params:
        p.grad = np.ones((400, 300), np.float32).T
    optimizer = optim.Adam(params)
    optimizer.step()
    assert allocated_by(optimizer.step) < 20_000

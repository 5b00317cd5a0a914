"""Contestants of a benchmark: each in its own process, timed in turns, and named when one breaks."""

import os
import time
from functools import partial
from pathlib import Path
from statistics import median

import pytest

from tools.turns import VARIABLES, Work, in_turns


def sleeper(seconds: float, file: Path) -> Work:
    """Sleeps, and notes the process and the threads that it was given."""

    def work() -> None:
        time.sleep(seconds)
        with file.open("a", encoding="ascii") as log:
            log.write(f"{os.getpid()} {' '.join(os.environ[name] for name in VARIABLES)}\n")

    return work


def broken(when: int) -> Work:
    """Fails when it is made, or at its piece `when`."""
    if when == 0:
        raise ValueError("cannot be made")
    left = iter(range(when - 1))

    def work() -> None:
        next(left)

    return work


def test_each_contestant_works_in_its_own_process_and_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    files = {"slow": tmp_path / "slow", "quick": tmp_path / "quick"}
    makers = {"slow": partial(sleeper, 0.05, files["slow"]), "quick": partial(sleeper, 0.001, files["quick"])}
    times = in_turns(makers, rounds=3, turn=50, threads=2)
    assert [len(found) for found in times.values()] == [3, 3]
    assert 50 <= median(times["slow"]) < 500 and 1 <= median(times["quick"]) < 50
    logs = {name: file.read_text(encoding="ascii").splitlines() for name, file in files.items()}
    # A turn of 50 ms is one slow piece, or many quick ones; as many before each are not timed.
    assert 2 * (3 + 2) <= len(logs["slow"]) < len(logs["quick"])
    processes = {name: {line.split()[0] for line in lines} for name, lines in logs.items()}
    assert [len(found) for found in processes.values()] == [1, 1]
    assert len({str(os.getpid()), *processes["slow"], *processes["quick"]}) == 3
    assert {line.split(maxsplit=1)[1] for lines in logs.values() for line in lines} == {"2 2 2"}
    assert os.environ["OMP_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ


@pytest.mark.parametrize("when", [0, 1, 6])
def test_a_contestant_that_breaks_is_named(tmp_path: Path, when: int) -> None:
    makers = {"sound": partial(sleeper, 0.0, tmp_path / "log"), "broken": partial(broken, when)}
    with pytest.raises(RuntimeError, match="in_turns: broken has ended"):
        in_turns(makers, rounds=5, turn=1)

"""Stores what a run of the tests or of the benchmarks found, for the page *How we know it is right*.

    make record                   the tests, into book/results/tests.json
    make bench STORE=yes          the benchmarks, into book/results/benchmarks.json

The tests are recorded by a pytest plugin, this module: `python -m pytest -p tools.records --record suite …`. Nothing is
stored when anything failed. Each entry says when, where and of which commit it was made.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "book" / "results"
COMMANDS = {"suite": "make record", "site": "make record SITE=yes"}
OUTCOMES = ("passed", "skipped", "failed")

Record = dict[str, Any]


def processor() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def git(*command: str) -> str:
    return subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def load_average() -> list[float]:
    """Processes that ran or waited, averaged over 1, 5 and 15 minutes; [] where the system keeps no count."""
    return [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else []


def busy_seconds() -> float | None:
    """Seconds that all cores together have worked since the machine started; None where Linux does not count them."""
    try:
        counts = list(map(int, Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]))
    except (OSError, ValueError):
        return None
    user, nice, system, _idle, _waiting, *interrupts = counts
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Seconds that the cores have worked for this process, and for those that it started and that have ended."""
    return sum(os.times()[:4])


def circumstances(*packages: str) -> Record:
    """Date, commit, machine, load and versions, as they are now."""
    versions = {"Python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "commit": git("rev-parse", "--short=12", "HEAD"),
        # The records themselves may differ: a second run of benchmarks follows a first one.
        "changed": bool(git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)book/results")),
        "machine": {"processor": processor(), "cores": cores, "system": platform.system()},
        "load": load_average(),
        "versions": versions,
    }


def load(name: str, folder: Path = RESULTS) -> dict[str, Record]:
    """The stored records of `tests` or `benchmarks`; none where nothing was stored yet."""
    path = folder / f"{name}.json"
    found: dict[str, Record] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def store(name: str, entry: str, record: Record, folder: Path = RESULTS) -> Path:
    """Replace one entry of `tests` or `benchmarks`; the other entries stay."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    everything = load(name, folder) | {entry: record}
    path.write_text(json.dumps(everything, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


# ---- The benchmarks ----


class Benchmark:
    """The options of a benchmark's command line, and the rows that it found."""

    def __init__(self, description: str, rounds: int) -> None:
        parser = argparse.ArgumentParser(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )
        parser.add_argument("rounds", nargs="?", type=int, default=rounds, help=f"how often, {rounds} if not given")
        parser.add_argument("--store", action="store_true", help="store the results in book/results/benchmarks.json")
        options = parser.parse_args()
        self.rounds: int = options.rounds
        self.storing: bool = options.store
        self.rows: list[Record] = []
        self.start = circumstances("numpy", "torch")
        self.clocks = perf_counter(), busy_seconds(), own_seconds()

    def versions(self) -> str:
        """The libraries that were measured, in words."""
        found = self.start["versions"]
        return f"NumPy {found['numpy']}, PyTorch {found.get('torch', 'not installed')}"

    def add(self, name: str, peer: str, ours: float, other: float, **also: Any) -> None:
        """A row: what was measured, what ours is compared with, both numbers, and `unit`, `threads` and `goal`."""
        numbers = {"ours": float(f"{ours:.4g}"), "other": float(f"{other:.4g}")}
        self.rows.append({"name": name, "peer": peer, **numbers, **also})

    def others(self) -> float | None:
        """How many cores other programs kept busy while we measured, on average."""
        (began, busy, own), now = self.clocks, busy_seconds()
        if busy is None or now is None:
            return None
        return round(max(0.0, now - busy - (own_seconds() - own)) / (perf_counter() - began), 2)

    def finish(self) -> None:
        """Store the rows if the command line says so."""
        if not self.storing:
            return
        script = Path(sys.argv[0]).resolve()
        record = self.start | {
            "command": f"python {script.relative_to(ROOT).as_posix()} {self.rounds}",
            "others": self.others(),
            "rows": self.rows,
        }
        print(f"\nstored in {store('benchmarks', script.stem, record).relative_to(ROOT)}")


# ---- The tests: hooks of pytest ----


def part_of(nodeid: str) -> str:
    """Where a test stands: its folder under tests, its chapter, or the package for a doctest."""
    file = nodeid.partition("::")[0]
    if file.startswith("tests/"):
        return "/".join(file.split("/")[:2])
    return file if file.endswith(".ipynb") else "odyssey"


class Recorder:
    """Counts outcomes in the process that gathers them."""

    def __init__(self, entry: str) -> None:
        self.entry = entry
        self.start = circumstances("numpy", "pytest", "nbval")
        self.began = perf_counter()
        self.parts: dict[str, dict[str, int]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":  # a skip or an error may come from the setup
            counts = self.parts.setdefault(part_of(report.nodeid), dict.fromkeys(OUTCOMES, 0))
            counts[report.outcome] += 1

    @property
    def record(self) -> Record:
        return self.start | {
            "command": COMMANDS[self.entry],
            "seconds": round(perf_counter() - self.began),
            "parts": dict(sorted(self.parts.items())),
        }

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
        if exitstatus != 0:
            terminalreporter.write_line("Not recorded: something failed.")
            return
        record = self.record | {"processes": config.getoption("numprocesses", None) or 1}
        path = store("tests", self.entry, record, Path(config.getoption("record_folder")))
        terminalreporter.write_line(f"recorded in {path}")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("records")
    group.addoption("--record", choices=sorted(COMMANDS), default=None, help="store the outcomes under this name")
    group.addoption("--record-folder", default=str(RESULTS), help="where to store them")


def pytest_configure(config: pytest.Config) -> None:
    entry = config.getoption("record")
    if entry and not hasattr(config, "workerinput"):  # with -n, the workers report to the process that has no input
        config.pluginmanager.register(Recorder(entry), "odyssey-recorder")


def outcomes(record: Record) -> Iterator[tuple[str, dict[str, int]]]:
    """(part, its counts) of a record of tests, all chapters of a part of the book together."""
    merged: dict[str, dict[str, int]] = {}
    for part, counts in record["parts"].items():
        name = part.rpartition("/")[0] if part.endswith(".ipynb") else part
        total = merged.setdefault(name, dict.fromkeys(OUTCOMES, 0))
        for outcome in OUTCOMES:
            total[outcome] += counts[outcome]
    yield from merged.items()

"""The grid of *A good optimizer is worth more than a clever architecture*, computed and stored.

    python -m odyssey.train.key_insight                        # all of it: about half an hour
    python -m odyssey.train.key_insight --only 'long/MLP/*/*'  # a slice: printed, not stored

What follows was written before the first run.

HYPOTHESIS. In a grid of five architectures, four optimizers and four schedules, the choice of the
optimizer and the schedule explains more of the variance of the accuracy than the choice of the
architecture.

DECISION. D = share(optimizer) + share(schedule) + share(optimizer x schedule)
            - share(architecture),
with shares (omega squared) of the variance of the accuracy over cells and seeds. Interactions with
the architecture belong to neither side. Bootstrap over the seeds of each cell, 95 % interval of D:

    all of it above 0: the claim HOLDS in this situation
    all of it below 0: the claim FAILS in this situation
    otherwise:         UNDECIDED

The first situation, which decides about the claim as it is told, is the long budget with the rate
tuned for each cell, all levels in, on the test set. The others say how far the answer reaches: the
short budget; one rate for all cells, or one for each optimizer (validation set, runs of the
search); without logistic regression; without SGD; on the scale of logits of the error.

RULES. Each cell gets the same number of steps, the same batch, the same 11 rates with 2 seeds in
the search. The rate with the largest mean validation accuracy wins, the smaller mean validation
loss if tied. Then 8 new seeds at that rate; the test set is read once in each of these runs, at the
end.

One change was made later: the long budget had 20 epochs, and got 12 for lack of time, before the
first long run.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from fnmatch import fnmatch
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from ...data import load_digits
from .grid import RATES, SEEDS, Run, cells
from .results import RESULTS, Cell, best_rate, table
from .runs import Digits, Outcome, train

Lines = dict[Run, Outcome]


def read_lines(path: Path) -> Lines:
    """The runs that an earlier call has made; a line cut off by an interrupt does not count."""
    found: Lines = {}
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                run, outcome = json.loads(line)
            except json.JSONDecodeError:
                continue
            found[Run(*run)] = Outcome(*outcome)
    return found


def compute(cell: Cell, seeds: int, lines: Lines, path: Path, digits: Digits) -> list[Outcome]:
    """The final runs of `cell`, after its search; runs in `lines` are not made again."""

    def outcome(run: Run) -> Outcome:
        if run not in lines:
            lines[run] = train(run, digits)
            with path.open("a") as file:
                file.write("\n" + json.dumps([run, lines[run]]))  # after a line that was cut off
        return lines[run]

    trials = [[outcome(Run("search", *cell, rate, seed)) for seed in range(SEEDS["search"])]
              for rate in RATES]  # fmt: skip
    correct = [[trial.validation for trial in row] for row in trials]
    losses = [[trial.validation_loss for trial in row] for row in trials]
    rate = RATES[best_rate(np.array(correct), np.array(losses))]
    return [outcome(Run("final", *cell, rate, seed)) for seed in range(seeds)]


def provenance(seconds: float, command: str) -> dict[str, Any]:
    """When, how and with what the grid was computed."""
    return {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(seconds),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "odyssey": version("ml-odyssey"),
        "machine": f"one core, {platform.machine()}, {platform.system()}",
    }


def stored(lines: Lines, seeds: int) -> dict[str, Any]:
    """All runs as nested lists: an entry for each cell, in it one for each rate and seed."""

    def plain(value: Any) -> Any:
        if isinstance(value, float):
            return float(f"{value:.6g}") if isfinite(value) else None
        return int(value) if isinstance(value, bool) else value

    final_rate = {run.cell: run.rate for run in lines if run.phase == "final"}
    content: dict[str, Any] = {"rate": [RATES.index(final_rate[cell]) for cell in cells()]}
    for name in ("validation", "validation_loss", "diverged"):
        content[f"search_{name}"] = [
            [[plain(getattr(lines[Run("search", *cell, rate, seed)], name))
              for seed in range(SEEDS["search"])] for rate in RATES] for cell in cells()
        ]  # fmt: skip
    for name in ("validation", "validation_loss", "test", "train_loss", "diverged", "seconds",
                 "curve"):  # fmt: skip
        content[name] = [
            [plain(getattr(lines[Run("final", *cell, final_rate[cell], seed)], name))
             for seed in range(seeds)] for cell in cells()
        ]  # fmt: skip
    return content


def write(path: Path, about: dict[str, Any], content: dict[str, Any]) -> None:
    """A JSON file with a line for each cell, so that two versions can be compared."""
    parts = [f'"about": {json.dumps(about, indent=1)}']
    for name, rows in content.items():
        if name == "rate":
            parts.append(f'"rate": {json.dumps(rows)}')
            continue
        body = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
        parts.append(f'"{name}": [\n{body}\n]')
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def main(arguments: Iterable[str] | None = None) -> None:
    """Compute what is missing, and store it or print it."""
    parser = argparse.ArgumentParser(prog="python -m odyssey.train.key_insight")
    parser.add_argument("--seeds", type=int, default=SEEDS["final"], help="final runs of a cell")
    parser.add_argument("--only", default="*", help="cells, e.g. 'long/MLP/*/*'; nothing is stored")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the results go")
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(given)
    if options.seeds < 2:
        parser.error(f"--seeds must be at least 2 for an interval, got {options.seeds}")
    chosen = [cell for cell in cells() if fnmatch("/".join(cell), options.only)]
    if not chosen:
        parser.error(f"--only {options.only!r} fits no cell; write budget/architecture/optimizer/"
                     f"schedule with * for any")  # fmt: skip
    path, digits = options.out.with_suffix(".jsonl"), load_digits()
    lines = read_lines(path)
    for cell in chosen:
        outcomes = compute(cell, options.seeds, lines, path, digits)
        print(table(cell, np.array([outcome.test for outcome in outcomes])), flush=True)
    if len(chosen) == len(list(cells())):
        command = " ".join(["python -m odyssey.train.key_insight", *given])
        seconds = sum(outcome.seconds for outcome in lines.values())
        write(options.out, provenance(seconds, command), stored(lines, options.seeds))
        path.unlink()


if __name__ == "__main__":
    main()

"""The numbers of the page *How we know it is right*, as words; tools/evidence.py puts them onto the page.

What can be counted in the sources is counted there (tools/counts.py, tools/references.py); what takes minutes to find
comes from the records in book/results, which tools/records.py writes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path

import odyssey
from tools import counts, records, references
from tools.chapters import chapters
from tools.records import ROOT, Record

SPELLED = {"numpy": "NumPy", "torch": "PyTorch"}
BUSY = 0.1  # cores that other programs used while we measured; above it, threads wait for one another


def number(value: int) -> str:
    return f"{value:,}"


@cache
def entry(name: str, key: str) -> Record:
    """One stored record."""
    found = records.load(name)
    if key not in found:
        command = records.COMMANDS.get(key, "make bench STORE=yes")
        raise LookupError(f"book/results/{name}.json has no entry {key!r}; run: {command}")
    return found[key]


@cache
def outputs() -> dict[str, counts.Outputs]:
    """{page: its outputs}, in the order of the book."""
    return {page_of(path): counts.outputs(path) for path in chapters(ROOT)}


@cache
def all_references() -> list[references.Reference]:
    return references.references(ROOT, chapters(ROOT))


@cache
def wrong_answers() -> dict[str, int]:
    return {page_of(path): counts.wrong_answers(path.parent.name, path.stem) for path in chapters(ROOT)}


def page_of(path: Path) -> str:
    return str(path.relative_to(ROOT).with_suffix("").as_posix())


def total(record: Record, outcome: str) -> int:
    return sum(part[outcome] for part in record["parts"].values())


def circumstances(record: Record) -> str:
    """Where and when, in words."""
    machine, versions = record["machine"], record["versions"]
    cores = f"{machine['cores']} core" + "s" * (machine["cores"] > 1)
    changes = " with changes that were not committed yet" * record["changed"]
    programs = ", ".join(f"{SPELLED.get(name, name)} {version}" for name, version in versions.items())
    where = f"{machine['processor']}, {cores}, {machine['system']}"
    return f"{record['date']} UTC, commit {record['commit']}{changes}, {where}, {programs}"


def load_of(record: Record) -> str:
    """How many processes ran or waited in the minute before."""
    return f"{record['load'][0]:.1f}" if record["load"] else "unknown"


def others_of(record: Record) -> str:
    """How many cores other programs used while a benchmark ran."""
    return "unknown" if record["others"] is None else f"{record['others']:.2f}"


def busy(record: Record) -> bool:
    """Whether a benchmark may have been disturbed."""
    return record["others"] is None or record["others"] > BUSY


def rows() -> list[tuple[Record, Record]]:
    """(record of the script, row) of all benchmarks that say something."""
    everything = records.load("benchmarks")
    return [
        (record, row)
        for _, record in sorted(everything.items())
        for row in record["rows"]
        if row["threads"] == 1 or not busy(record)
    ]


def ratio(row: Record) -> float:
    """Ours / the other's, as the page shows it."""
    return round(float(row["ours"] / row["other"]), 2)


def missed(row: Record) -> bool:
    return row["goal"] is not None and ratio(row) > row["goal"]


def site() -> str:
    """How the tests of the built site went, in a sentence."""
    record = records.load("tests").get("site")
    if record is None:
        return "No run of them is stored at present."
    return (
        f"The last stored run: {number(total(record, 'passed'))} passed, {number(total(record, 'skipped'))} skipped, "
        f"in {record['seconds'] // 60} minutes ({circumstances(record)})."
    )


def load_in_words() -> str:
    """Whether the benchmarks had the machine to themselves."""
    if not any(map(busy, records.load("benchmarks").values())):
        return "The machine was quiet."
    return (
        "The machine was not quiet: other work ran beside the measurement. Ours and theirs met it in turns, so a ratio "
        "is less disturbed than a time; but take the second digit for uncertain. Rows for more than one thread are "
        "left out, since threads that wait for a busy core measure the wait."
    )


@cache
def facts() -> dict[str, Callable[[], str]]:
    """The words that stand for a number in the text."""
    gradcheck = inspect.signature(odyssey.gradcheck).parameters
    shown = counts.shown(chapters(ROOT))

    def every(what: str) -> int:
        return sum(getattr(chapter, what) for chapter in outputs().values())

    def suite() -> Record:
        return entry("tests", "suite")

    return {
        "tests.passed": lambda: number(total(suite(), "passed")),
        "tests.skipped": lambda: number(total(suite(), "skipped")),
        "tests.minutes": lambda: f"{suite()['seconds'] / 60:.1f}",
        "tests.processes": lambda: str(suite()["processes"]),
        "tests.circumstances": lambda: circumstances(suite()),
        "tests.load": lambda: load_of(suite()),
        "site.outcome": site,
        "chapters": lambda: str(len(outputs())),
        "outputs.cells": lambda: number(every("cells")),
        "outputs.compared": lambda: number(every("printed") + every("quoted")),
        "outputs.printed": lambda: number(every("printed")),
        "outputs.quoted": lambda: number(every("quoted")),
        "outputs.figures": lambda: number(every("figures")),
        "outputs.exempt": lambda: number(every("timed") + every("otherwise")),
        "source.lines": lambda: number(shown.lines),
        "source.definitions": lambda: number(len(shown.definitions)),
        "primitives": lambda: number(sum(len(found) for found in counts.primitives().values())),
        "primitives.cases": lambda: number(sum(sum(found.values()) for found in counts.primitives().values())),
        "gradcheck.eps": lambda: f"{gradcheck['eps'].default:g}",
        "gradcheck.rtol": lambda: f"{gradcheck['rtol'].default:g}",
        "gradcheck.atol": lambda: f"{gradcheck['atol'].default:g}",
        "references.files": lambda: number(len(all_references())),
        "references.numbers": lambda: number(sum(reference.numbers for reference in all_references())),
        "exercises": lambda: number(sum(len(counts.checks(page.rpartition("/")[2])) for page in outputs())),
        "exercises.wrong": lambda: number(sum(wrong_answers().values())),
        "benchmarks.goals": lambda: str(sum(row["goal"] is not None for _, row in rows())),
        "benchmarks.missed": lambda: str(sum(missed(row) for _, row in rows())),
        "benchmarks.load": load_in_words,
    }

"""The page *How we know it is right*: its numbers are those of another count, its records are complete and fresh."""

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from docutils import nodes

import odyssey.nn  # noqa: F401  (its primitives are in the table, too)
from odyssey.autograd import PRIMITIVES
from tools import counts, evidence, facts, records, references
from tools.chapters import chapters
from tools.records import ROOT

PAGE = (ROOT / "book" / "evidence.md").read_text(encoding="utf-8")
CHAPTERS = chapters(ROOT)
SUITE = records.load("tests")["suite"]
BENCHMARKS = records.load("benchmarks")


def told(name: str) -> int:
    """A number as the page tells it."""
    return int(facts.facts()[name]().replace(",", ""))


def lines_of(name: str) -> list[list[str]]:
    """The cells of a table of the page, row by row, the heads left out."""
    rows = list(evidence.TABLES[name]().findall(nodes.row))
    return [[cell.astext() for cell in row.findall(nodes.entry)] for row in rows[1:]]


def test_the_page_uses_what_there_is() -> None:
    assert set(re.findall(r"\{evidence\}`([^`]+)`", PAGE)) == set(facts.facts())
    assert set(re.findall(r"^```\{evidence\} (\w+)$", PAGE, re.MULTILINE)) == set(evidence.TABLES)


def test_every_command_of_the_page_exists() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = [word for words in re.findall(r"`make ([a-z -]+)[A-Z=a-z]*`", PAGE) for word in words.split()]
    assert len(named) > 10 and set(named) <= set(targets)
    assert all(command.split()[1] in named for command in records.COMMANDS.values())


def test_every_table_fits_on_paper() -> None:
    columns = {name: len(lines_of(name)[0]) for name in evidence.TABLES if name != "missed"}
    assert {name: len(widths) for name, widths in evidence.WIDTHS.items()} == columns
    assert [name for name, widths in evidence.WIDTHS.items() if not 0.99 < sum(widths) < 1.01] == []


@pytest.fixture(scope="module")
def collected() -> list[str]:
    """All tests of the suite, the cells of chapters left out."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    command += ["odyssey", "tests", "--ignore", "tests/site", "--ignore", "tests/editions"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [line for line in run.stdout.splitlines() if "::" in line]


# ---- Counts, counted again ----


def cells() -> list[tuple[str, Any]]:
    """(chapter, code cell) of the whole book, as nbformat reads it; nbval takes those that hold something."""
    notebooks = [(path.stem, nbformat.read(path, as_version=4)) for path in CHAPTERS]
    return [
        (stem, cell)
        for stem, notebook in notebooks
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.source.strip()
    ]


def test_outputs() -> None:
    exempt = [cell for _, cell in cells() if "nbval-ignore-output" in cell.metadata.get("tags", [])]
    compared = quoted = pictures = 0
    for _, cell in cells():
        if cell in exempt:
            continue
        streams = {output.name for output in cell.outputs if output.output_type == "stream"}
        compared += len(streams)
        for output in cell.outputs:
            mimes = output.get("data", {})
            if "image/png" in mimes or "odyssey-frames" in mimes.get("text/html", ""):
                pictures += 1
            elif any("papermill" in mime for mime in mimes):
                quoted += 1
            elif output.output_type in ("execute_result", "display_data", "error"):
                compared += 1
    assert told("outputs.cells") == len(cells())
    assert (told("outputs.printed"), told("outputs.quoted")) == (compared, quoted)
    assert (told("outputs.figures"), told("outputs.exempt")) == (pictures, len(exempt))
    assert told("outputs.compared") == compared + quoted > 1000


def test_only_cells_that_print_times_are_exempt() -> None:
    assert sum(counts.outputs(path).otherwise for path in CHAPTERS) == 0


def test_an_exempt_cell_without_a_time_is_noticed(tmp_path: Path) -> None:
    cell = nbformat.v4.new_code_cell("print(f())", execution_count=1, metadata={"tags": ["nbval-ignore-output"]})
    cell.outputs = [nbformat.v4.new_output("stream", text="12 seeds\n")]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    assert counts.outputs(tmp_path / "a.ipynb").otherwise == 1
    cell.outputs[0].text = "12 ms\n"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    assert counts.outputs(tmp_path / "a.ipynb").otherwise == 0


def test_lines_and_definitions_of_source_cells() -> None:
    lines, found = 0, set()
    for _, cell in cells():
        header, _, rest = cell.source.partition("\n")
        if re.fullmatch(r"# odyssey/\S+\.py\s*", header):
            lines += rest.count("\n") + 1
            for node in ast.parse(rest).body:
                targets = getattr(node, "targets", [getattr(node, "target", node)])
                names = [name for target in targets for name in getattr(target, "elts", [target])]
                found |= {(header, getattr(name, "id", getattr(name, "name", None))) for name in names}
    found = {(header.strip(), name) for header, name in found if name}
    shown = counts.shown(CHAPTERS)
    # Two names of one assignment, `a, b = 1, 2`, are two definitions in both counts.
    assert told("source.lines") == shown.lines == lines
    assert told("source.definitions") == len(found) == len(shown.definitions)


def test_every_primitive_is_there_with_cases() -> None:
    ours = {name for name, f in PRIMITIVES.items() if f.__module__.startswith("odyssey.")}
    listed = [name for _, names, _, _ in lines_of("primitives") for name in names.split(", ")]
    assert told("primitives") == len(listed) == len(ours) and set(listed) == ours
    assert all(cases for found in counts.primitives().values() for cases in found.values())


def test_the_cases_of_primitives_are_tests(collected: list[str]) -> None:
    assert told("primitives.cases") == sum("/test_primitives.py::test_gradient_is_the_slope[" in t for t in collected)


def test_numbers_of_references() -> None:
    stored = sorted((ROOT / "tests" / "reference").glob("*.npz"))
    total = sum(array.size for path in stored for array in np.load(path).values() if array.dtype.kind not in "US")
    assert 0 <= told("references.numbers") - total < 1000  # and the few of modules.safetensors
    assert told("references.files") == len(stored) == len(lines_of("references"))


def test_every_reference_is_compared_and_says_what_made_it() -> None:
    for one in references.references(ROOT, CHAPTERS):
        assert one.tests + one.chapters, f"nothing compares with {one.name}.npz"
        assert one.tolerances and 1e-16 < one.tolerances[0] <= one.tolerances[-1] <= 1e-3, one
        assert any(re.search(r"\d", library) for library in one.libraries), f"{one.script.name} notes no version"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("assert_allclose(a, b, rtol=1e-9, atol=1e-11)", [1e-9]),
        ("assert worst < 1e-12 and a == approx(b, rel=1e-6)", [1e-12, 1e-6]),
        ("tolerance = 1e-14 if wide else 1e-6\nassert_allclose(a, b, atol=2 * tolerance)", [1e-14, 1e-6]),
        ("assert mine < 1e-4 < 1e-3 < theirs\nx = 1e-5\nassert_allclose(a, b, rtol=0.5)", []),
    ],
)
def test_tolerances_are_read_in_the_code(code: str, found: list[float]) -> None:
    tree = ast.parse(code)
    assert list(references.tolerances(tree, ast.Module([], []))) == found


def test_wrong_answers_are_tests(collected: list[str]) -> None:
    for path in CHAPTERS:
        part, chapter = path.parent.name, path.stem
        tests = [test for test in collected if test.startswith(f"tests/{part}/test_{chapter}_exercises.py::")]
        wrong = [test for test in tests if re.search(r"::test_\w*(mistake|wrong|caught)", test)]
        # The few that say it otherwise in their name are counted too.
        assert len(wrong) <= counts.wrong_answers(part, chapter) <= len(tests), chapter
        assert len(wrong) > 0.7 * counts.wrong_answers(part, chapter), chapter


# ---- Records ----


def complete(record: dict[str, Any]) -> bool:
    return (
        re.fullmatch(r"20\d\d-[01]\d-[0-3]\d [0-2]\d:[0-5]\d", record["date"]) is not None
        and re.fullmatch(r"[0-9a-f]{12}", record["commit"]) is not None
        and {"processor", "cores", "system"} <= record["machine"].keys()
        and {"Python", "numpy"} <= record["versions"].keys()
        and isinstance(record["changed"], bool)
    )


def test_records_are_complete() -> None:
    assert BENCHMARKS.keys() == {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    for record in [*records.load("tests").values(), *BENCHMARKS.values()]:
        assert complete(record)
    assert {entry: record["command"] for entry, record in records.load("tests").items()}.items() <= (
        records.COMMANDS.items()
    )


def test_the_record_is_of_the_tests_that_there_are(collected: list[str]) -> None:
    """Run `make record` when this fails: tests have come or gone, more than a tenth of a part of them."""
    now = Counter(map(records.part_of, collected))
    now.update(f"book/{path.parent.name}/{path.name}" for path in CHAPTERS for _ in range(counts.outputs(path).cells))
    then = {part: sum(found.values()) for part, found in SUITE["parts"].items()}
    assert then.keys() == now.keys()
    assert [part for part in now if abs(now[part] - then[part]) > max(5, now[part] // 10)] == []
    assert facts.total(SUITE, "failed") == 0 < told("tests.passed")


def test_benchmarks_name_a_program_and_pytorch() -> None:
    for name, record in BENCHMARKS.items():
        python, script, rounds = record["command"].split()
        assert python == "python" and script == f"benchmarks/{name}.py" and (ROOT / script).is_file()
        assert int(rounds) >= 1 and "torch" in record["versions"] and record["rows"] and "others" in record
        assert all(row["ours"] > 0 < row["other"] and row["unit"] in ("ms", "MB") for row in record["rows"])


def test_the_goals_are_those_of_the_programs() -> None:
    for name, record in BENCHMARKS.items():
        text = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
        constants = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
        assert {row["goal"] for row in record["rows"]} <= constants | {None}


def test_a_missed_goal_is_said_to_be_missed() -> None:
    shown = {(work, peer): (ours, verdict) for work, peer, _, _, ours, _, verdict in lines_of("benchmarks")}
    said = evidence.TABLES["missed"]().astext()
    missed = 0
    for record in BENCHMARKS.values():
        for row in record["rows"]:
            if row["goal"] is None or row["threads"] > 1:
                continue
            ratio, verdict = shown[row["name"], row["peer"]]
            assert float(ratio) == round(row["ours"] / row["other"], 2)
            over = float(ratio) > row["goal"]
            assert (verdict, f"{row['name']}, against {row['peer']}: {ratio}" in said) == (
                ("missed", True) if over else ("met", False)
            )
            missed += over
    assert missed == told("benchmarks.missed") < told("benchmarks.goals")


def test_rows_of_several_threads_need_a_quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def page_of(others: float | None) -> tuple[int, str]:
        row = {"name": "w", "peer": "p", "ours": 1.0, "other": 2.0, "unit": "ms", "goal": None}
        record = {"others": others, "rows": [row | {"threads": 1}, row | {"threads": 2}]}
        monkeypatch.setattr(records, "load", lambda name: {"a": record})
        return len(facts.rows()), facts.load_in_words()

    assert page_of(0.05) == (2, "The machine was quiet.")
    for others in (1.5, None):
        assert page_of(others)[0] == 1 and page_of(others)[1].startswith("The machine was not quiet")


def test_a_missing_record_names_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "load", lambda name: {})
    facts.entry.cache_clear()
    with pytest.raises(LookupError, match="make record"):
        facts.entry("tests", "suite")
    assert facts.site() == "No run of them is stored at present."


def test_the_plugin_records_what_pytest_ran_and_nothing_when_it_failed(tmp_path: Path) -> None:
    (tmp_path / "test_few.py").write_text(
        "import pytest\n\n\ndef test_a():\n    pass\n\n\n@pytest.mark.skip\ndef test_b():\n    pass\n", encoding="utf-8"
    )
    command = [sys.executable, "-m", "pytest", "-p", "tools.records", "-p", "no:cacheprovider", "--record", "suite",
               "--record-folder", str(tmp_path / "kept"), "-n", "2", str(tmp_path / "test_few.py")]  # fmt: skip
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    record = json.loads((tmp_path / "kept" / "tests.json").read_text(encoding="utf-8"))["suite"]
    assert complete(record) and record["command"] == "make record" and record["processes"] == 2
    assert list(record["parts"].values()) == [{"passed": 1, "skipped": 1, "failed": 0}]
    (tmp_path / "kept" / "tests.json").unlink()
    (tmp_path / "test_few.py").write_text("def test_a():\n    assert False\n", encoding="utf-8")
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 1
    assert not (tmp_path / "kept" / "tests.json").exists()


def test_an_entry_replaces_itself_alone(tmp_path: Path) -> None:
    records.store("tests", "a", {"n": 1}, tmp_path)
    records.store("tests", "b", {"n": 2}, tmp_path)
    records.store("tests", "a", {"n": 3}, tmp_path)
    assert records.load("tests", tmp_path) == {"a": {"n": 3}, "b": {"n": 2}}

"""Stray files that tools leave behind must not get into the book. (.ci/run plants some and builds strictly.)"""

from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")
matching = pytest.importorskip("sphinx.util.matching")

ROOT = Path(__file__).parents[2]

STRAY = [
    ".pytest_cache/README.md",
    "book/.pytest_cache/README.md",
    ".venv/lib/python3.11/site-packages/numpy/README.md",
    ".venv-old/lib/python3.12/site-packages/nbval/example.ipynb",
    "venv/lib/python3.11/site-packages/x/README.md",
    "venv311/README.md",
    "env/lib/python3.13/site-packages/x/docs/index.md",
    "my-python/lib/python3.13/site-packages/x/docs/index.md",
    "book/autograd/.ipynb_checkpoints/tape-checkpoint.ipynb",
    "node_modules/x/README.md",
    ".mypy_cache/README.md",
    ".ruff_cache/README.md",
    ".hypothesis/README.md",
    "_build/html/_sources/book/index.md",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "requirements.txt",
    "odyssey/data/README.md",
    "tests/reference/README.md",
    "benchmarks/README.md",
    "examples/README.md",
]


def excluded(path: str) -> bool:
    """As Sphinx does: a pattern may match the file or any folder above it."""
    patterns = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["exclude_patterns"]
    matchers = matching.compile_matchers(patterns)
    pieces = path.split("/")
    return any(matcher("/".join(pieces[:end])) for matcher in matchers for end in range(1, len(pieces) + 1))


@pytest.mark.parametrize("path", STRAY)
def test_stray_file_is_excluded(path: str) -> None:
    assert excluded(path)


@pytest.mark.parametrize("path", ["book/index.md", "book/api.md", "book/autograd/tape.ipynb"])
def test_page_is_not_excluded(path: str) -> None:
    assert not excluded(path)


def test_build_uses_stored_outputs_only() -> None:
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert config["execute"]["execute_notebooks"] == "off"
    assert config["only_build_toc_files"] is True

"""The README's example is run as it stands, and its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_example_prints_what_the_readme_says() -> None:
    (example,), (printed,) = fenced("python"), fenced("text")
    run = subprocess.run([sys.executable, "-W", "error", "-c", example], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert run.stdout == printed


def test_the_example_is_short() -> None:
    (example,) = fenced("python")
    lines = [line for line in example.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(lines) <= 15


def test_links_to_files_exist() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    files = [target for target in targets if not target.startswith("http")]
    assert len(files) >= 8
    assert not [target for target in files if not (ROOT / target).exists()], "a link of the README leads nowhere"


def test_the_commands_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in set(re.findall(r"make ([a-z]+) ", "\n".join(fenced("console")))):
        assert re.search(rf"^{command}:", makefile, flags=re.MULTILINE), command

"""The package's own tests pass in the browser: integers of 32 bits, no threads, no BLAS, no floating-point flags.

They run in Pyodide on a blank page, with the package as the site ships it. A test that needs threads or processes says
so (tests/needs.py) and is skipped there.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route

from tests.site.conftest import ROOT, SITE
from tools.lite import CDN, download

PATIENCE = 2_400_000  # milliseconds
WHEELS = ROOT / "_build" / "lite" / "testing"
# The versions that are installed here; but of hypothesis one without compiled code.
PURE = [f"{name}=={version(name)}" for name in ("pytest", "pluggy", "iniconfig", "sortedcontainers", "attrs")]
PURE += ["hypothesis==6.151.0"]

START = """async ([folder, lock, wheels, archive]) => {
  const { loadPyodide } = await import(folder + "pyodide.mjs");
  window.pyodide = await loadPyodide({ indexURL: folder, lockFileURL: lock, stdout: () => {}, stderr: () => {} });
  await pyodide.loadPackage(["numpy", "matplotlib", "packaging", "pygments", "tqdm", "safetensors", "ml-odyssey"]);
  await pyodide.loadPackage(wheels);
  pyodide.unpackArchive(await (await fetch(archive)).arrayBuffer(), "zip", { extractDir: "/repository" });
}"""
RUN = """
import json, os, sys
import pytest

os.chdir("/repository")

class Record:
    def __init__(self):
        self.passed, self.skipped, self.failed = {}, [], []

    def pytest_collectreport(self, report):
        if report.failed:
            self.failed.append(f"{report.nodeid}: {str(report.longrepr)[-2000:]}")

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed.append(f"{report.nodeid}: {str(report.longrepr)[-2000:]}")
        elif report.skipped:
            self.skipped.append(f"{report.nodeid}: {report.longrepr[2]}")
        elif report.when == "call":
            file = report.nodeid.split("::")[0]
            self.passed[file] = self.passed.get(file, 0) + 1

record = Record()
options = ["-q", "-c", "browser.ini", "--rootdir=.", "-p", "no:cacheprovider", "--capture=sys"]
code = pytest.main([*options, FOLDER], plugins=[record])
json.dumps({"code": int(code), **vars(record)})
"""
INI = "[pytest]\nfilterwarnings = error\naddopts = --import-mode=importlib\npythonpath = .\n"


def repository() -> bytes:
    """What the tests open, as a ZIP archive: themselves and the chapters, but not the package."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("browser.ini", INI)
        for folder in ("tests", "tools", "book", "examples"):
            for file in sorted((ROOT / folder).rglob("*")):
                if file.is_file() and not {"__pycache__", "site", ".ipynb_checkpoints"} & set(file.parts):
                    archive.write(file, file.relative_to(ROOT))
    return content.getvalue()


@pytest.fixture(scope="module")
def wheels() -> list[Path]:
    """pytest and what it needs, from PyPI."""
    download(PURE, WHEELS)
    names = [requirement.replace("==", "-") for requirement in PURE]
    return [file for file in sorted(WHEELS.glob("*.whl")) if file.name.startswith(tuple(names))]


@pytest.fixture()
def page(browser: Browser, address: str, edition: None, wheels: list[Path]) -> Iterator[Page]:
    """A page with Pyodide, the package, pytest and the repository in it."""
    served = {wheel.name: wheel.read_bytes() for wheel in wheels} | {"repository.zip": repository()}
    pyodide = f"{address}/lite/static/pyodide/"

    def serve(route: Route) -> None:
        route.fulfill(body=served[route.request.url.rsplit("/", 1)[1]])

    with browser.new_context() as context:
        context.route("**/testing/*", serve)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{address}/objects.inv.txt")  # a page with nothing on it
        offline = (SITE / "lite" / "static" / "pyodide" / "pyodide.mjs").is_file()
        urls = [f"{address}/testing/{wheel.name}" for wheel in wheels]
        archive = f"{address}/testing/repository.zip"
        page.evaluate(START, [pyodide if offline else CDN, f"{pyodide}pyodide-lock.json", urls, archive])
        yield page


@pytest.mark.parametrize("folder", ["autograd", "optim", "nn", "data", "train"])
def test_the_tests_pass_in_the_browser(folder: str, page: Page) -> None:
    assert page.evaluate("pyodide.runPython('import numpy; numpy.dtype(numpy.intp).itemsize')") == 4
    code = f"FOLDER = 'tests/{folder}'\n{RUN}"
    found: dict[str, Any] = json.loads(page.evaluate("code => pyodide.runPython(code)", code))
    assert found["failed"] == [] and found["code"] == 0
    files = {file.relative_to(ROOT).as_posix() for file in (ROOT / "tests" / folder).glob("test_*.py")}
    assert files - found["passed"].keys() <= {"tests/optim/test_threads.py", "tests/train/test_examples.py"}
    assert len(found["skipped"]) < 0.15 * sum(found["passed"].values())

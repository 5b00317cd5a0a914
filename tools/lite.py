"""Builds the edition that runs in the reader's browser: JupyterLite with every chapter, beside the built book.

`make lite` writes `_build/html/lite`. There Pyodide and its packages come from their CDN, by version, and are checked
against Pyodide's own lock file; `make lite OFFLINE=FOLDER` copies them into the site instead, from a folder that holds
the packages (`*.whl`, as Pyodide publishes them). Either way the lock file also names this package, so that a plain
`import odyssey` works in every notebook.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat

from tools.chapters import chapters

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "_build" / "lite"
PYODIDE = "0.27.7"
CDN = f"https://cdn.jsdelivr.net/pyodide/v{PYODIDE}/full/"
# Archives of the npm registry, and their SHA-512. thebe makes a page's cells editable, thebe-lite runs them in Pyodide.
ARCHIVES = {
    f"pyodide-{PYODIDE}": "RUSVJlhQdfWfgO9hVHCiXoG+nVZQRS5D9FzgpLJ/VcgGBLSAKoPL8kTiOikxbHQm1kRISeWUBdulEgO26qpSRA==",
    "thebe-0.9.3": "Rb/7kVhtlffXra3kIe7OuIGE7awsm2/fGWxw21DiNfnWLnUQiDl9AWqYdshPwZPG/5DzLpsJRPix2xtCPtJmQQ==",
    "thebe-lite-0.5.0": "o+HhDbd/9cfYgCBdQ6BqJ5De+9JJobV5hUM/pPXTb5/1JlKILQcWUuRdhfIdYVCPUSBCMAbU3UwjkeRDJrG1HA==",
}
CORE = ("pyodide.js", "pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip")

# What a chapter and its kernel need of Pyodide's packages, beside what these depend on themselves.
NEEDED = ("numpy", "matplotlib", "ipython", "jedi", "micropip", "packaging", "sqlite3", "ssl", "pyodide-unix-timezones")

# What comes from PyPI, for Python and no machine in particular.
PURE = ("comm==0.2.3", "tqdm==4.67.1")

# What a chapter opens beside itself.
FILES = ("book/odyssey.mplstyle", "tests/reference/*.npz", "tests/reference/*.safetensors")


class LiteError(Exception):
    """Why the browser edition could not be built."""


def archive(name: str) -> tarfile.TarFile:
    """An archive of the npm registry; fetched once, and checked each time."""
    kept, url = WORK / f"{name}.tgz", f"https://registry.npmjs.org/{name.rsplit('-', 1)[0]}/-/{name}.tgz"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        try:
            with urllib.request.urlopen(url, timeout=120) as answer:
                kept.write_bytes(answer.read())
        except OSError as error:
            raise LiteError(f"could not fetch {url}: {error}; this needs the network once") from None
    content = kept.read_bytes()
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != ARCHIVES[name]:
        kept.unlink()
        raise LiteError(f"{url} is not the file that was published; it was thrown away, try again")
    return tarfile.open(fileobj=io.BytesIO(content))


def core_files(names: tuple[str, ...]) -> dict[str, bytes]:
    """Files of Pyodide's core by name."""
    with archive(f"pyodide-{PYODIDE}") as tar:
        return {name: tar.extractfile(f"package/{name}").read() for name in names}  # type: ignore[union-attr]


def needed(lock: dict[str, Any]) -> dict[str, Any]:
    """The entries of the lock file for NEEDED and all that they depend on."""
    normal = {name.lower().replace("_", "-"): name for name in lock["packages"]}
    found: dict[str, Any] = {}
    waiting = list(NEEDED)
    while waiting:
        name = normal[waiting.pop().lower().replace("_", "-")]
        if name not in found:
            found[name] = lock["packages"][name]
            waiting += found[name]["depends"]
    return found


PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def download(requirements: Sequence[str], folder: Path) -> None:
    """Wheels from PyPI that are for Python and no machine in particular, without what they depend on."""
    options = ["--no-deps", "--only-binary", ":all:", "--python-version", "3.12", "--platform", "any"]
    subprocess.run([*PIP, "download", *options, "--dest", folder, *requirements], check=True)


def wheels(folder: Path) -> list[Path]:
    """Wheels of this package, of what stands in for compiled packages, and of PURE."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for source in (ROOT, ROOT / "lite"):
        subprocess.run([*PIP, "wheel", "--no-deps", "--wheel-dir", folder, source], check=True)
    download(PURE, folder)
    return sorted(folder.glob("*.whl"))


def entry(wheel: Path, address: str) -> tuple[str, dict[str, Any]]:
    """(name, what the lock file says of it) for a wheel that lies at `address`."""
    name, version = wheel.name.split("-")[:2]
    with zipfile.ZipFile(wheel) as archive:
        tops = sorted({path.split("/")[0] for path in archive.namelist() if "/" in path and ".dist-info" not in path})
    depends = ["numpy"] if name == "ml_odyssey" else []
    return name.replace("_", "-"), {
        "name": name.replace("_", "-"), "version": version, "file_name": address, "install_dir": "site",
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(), "package_type": "package",
        "imports": tops, "depends": depends, "unvendored_tests": False,
    }  # fmt: skip


def write_pyodide(target: Path, offline: Path | None, base: str) -> None:
    """The folder static/pyodide of the site: our wheels, the lock file and, offline, all of Pyodide."""
    target.mkdir(parents=True, exist_ok=True)
    lock = json.loads(core_files(("pyodide-lock.json",))["pyodide-lock.json"])
    packages = needed(lock)
    for package in packages.values() if offline is not None else ():
        wheel = offline / package["file_name"]
        if not wheel.is_file():
            raise LiteError(f"{offline} has no {wheel.name}; fetch it from {CDN}{wheel.name}")
        if hashlib.sha256(wheel.read_bytes()).hexdigest() != package["sha256"]:
            raise LiteError(f"{wheel} is not the file of Pyodide {PYODIDE}: its SHA-256 differs from the lock file's")
        shutil.copy(wheel, target)
    for wheel in wheels(WORK / "wheels"):
        shutil.copy(wheel, target)
        # Pyodide looks for a plain name where Pyodide itself is; on the CDN our wheels are not.
        name, ours = entry(wheel, wheel.name if offline is not None else f"{base}/lite/static/pyodide/{wheel.name}")
        packages[name] = ours
    if offline is not None:
        for file, content in core_files(CORE).items():
            (target / file).write_bytes(content)
    lock["packages"] = packages
    (target / "pyodide-lock.json").write_text(json.dumps(lock, sort_keys=True), encoding="utf-8")


def stage(target: Path) -> None:
    """What the browser's file list shows: the chapters without outputs, and the files that they open."""
    shutil.rmtree(target, ignore_errors=True)
    for path in chapters(ROOT):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells = [cell for cell in notebook.cells if "install" not in cell.metadata.get("tags", [])]
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        notebook.metadata["kernelspec"] = {"name": "python", "display_name": "Python (Pyodide)", "language": "python"}
        copy = target / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, copy)
    for pattern in FILES:
        for file in sorted(ROOT.glob(pattern)):
            copy = target / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)


def write_live(site: Path, offline: bool) -> None:
    """What `Live code` on a page needs: thebe and thebe-lite, and the script that starts them."""
    target = site / "lite" / "thebe"
    for name, folder in (("thebe-lite-0.5.0", "package/dist/lib/"), ("thebe-0.9.3", "package/lib/")):
        with archive(name) as tar:
            for member in tar.getmembers():
                if member.isfile() and member.name.startswith(folder) and not member.name.endswith((".map", ".d.ts")):
                    file = target / member.name.removeprefix(folder)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(tar.extractfile(member).read())  # type: ignore[union-attr]
    (piplite,) = (target / "pypi").glob("piplite-*.whl")
    settings = {
        "pyodide": "lite/static/pyodide/pyodide.js" if offline else f"{CDN}pyodide.js",
        "piplite": piplite.name,
        "files": {path.relative_to(ROOT).with_suffix("").as_posix(): files_of(path) for path in chapters(ROOT)},
    }
    script = (ROOT / "lite" / "live.js").read_text(encoding="utf-8")
    text = f"const SETTINGS = {json.dumps(settings, sort_keys=True)};\n{script}"
    for place in ("lite", "_static"):  # the next build of the book writes _static anew, and takes the one in lite
        (site / place / "live.js").write_text(f"{{\n{text}}}\n", encoding="utf-8")


def files_of(chapter: Path) -> list[str]:
    """The files of FILES whose names a chapter's text holds."""
    text = chapter.read_text(encoding="utf-8")
    files = [file for pattern in FILES for file in sorted(ROOT.glob(pattern))]
    return [file.relative_to(ROOT).as_posix() for file in files if file.name in text]


def settings(offline: bool) -> dict[str, Any]:
    """jupyter-lite.json: which Pyodide the kernel starts."""
    return {
        "jupyter-lite-schema-version": 0,
        "jupyter-config-data": {
            "appName": "ML Odyssey",
            "exposeAppInBrowser": True,  # as window.jupyterapp, through which the tests run chapters
            "litePluginSettings": {
                "@jupyterlite/pyodide-kernel-extension:kernel": {
                    "pyodideUrl": "./static/pyodide/pyodide.js" if offline else f"{CDN}pyodide.js",
                    "loadPyodideOptions": {"lockFileURL": "./static/pyodide/pyodide-lock.json"},
                }
            },
        },
    }


def build(site: Path, offline: Path | None, base: str) -> None:
    """Build the browser edition into `site`/lite, and check that it is what was asked for."""
    source, output = WORK / "source", site / "lite"
    shutil.rmtree(source, ignore_errors=True)
    shutil.rmtree(output, ignore_errors=True)
    source.mkdir(parents=True)
    (source / "jupyter-lite.json").write_text(json.dumps(settings(offline is not None)), encoding="utf-8")
    stage(WORK / "contents")
    command = [sys.executable, "-m", "jupyterlite_core", "build", "--lite-dir", source, "--contents", WORK / "contents",
               "--output-dir", output, "--apps", "lab", "--apps", "notebooks", "--no-unused-shared-packages",
               "--no-sourcemaps"]  # fmt: skip
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    if done.returncode:
        raise LiteError(f"jupyter lite build failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    write_pyodide(output / "static" / "pyodide", offline, base)
    write_live(site, offline is not None)
    check(output, offline is not None)


def check(output: Path, offline: bool) -> None:
    """A setting that JupyterLite dropped would be noticed only in the browser, so look for it now."""
    wanted = settings(offline)["jupyter-config-data"]["litePluginSettings"]
    built = json.loads((output / "jupyter-lite.json").read_text(encoding="utf-8"))["jupyter-config-data"]
    plugin = "@jupyterlite/pyodide-kernel-extension:kernel"
    found = built.get("litePluginSettings", {}).get(plugin, {})
    if any(found.get(key) != value for key, value in wanted[plugin].items()):
        raise LiteError(f"the built site does not name the Pyodide that it should: {found}")
    missing = [path for path in chapters(ROOT) if not (output / "files" / path.relative_to(ROOT)).is_file()]
    if missing:
        raise LiteError(f"chapters are missing from the built site: {', '.join(path.stem for path in missing)}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the edition that runs in the browser.")
    parser.add_argument("--site", type=Path, default=ROOT / "_build" / "html", help="the built book")
    parser.add_argument("--offline", type=Path, help="a folder with Pyodide's packages, copied into the site")
    parser.add_argument("--base", default="http://localhost:8000", help="where the site will be served")
    options = parser.parse_args()
    if not (options.site / "book" / "index.html").is_file():
        print(f"There is no built book in {options.site}; run `make book` first.", file=sys.stderr)
        return 1
    try:
        build(options.site.resolve(), options.offline and options.offline.resolve(), options.base.rstrip("/"))
    except LiteError as error:
        print(f"make lite: {error}", file=sys.stderr)
        return 1
    size = sum(file.stat().st_size for file in (options.site / "lite").rglob("*") if file.is_file())
    print(f"The browser edition is built: {options.site / 'lite'}, {size / 1e6:.0f} MB.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Builds the PDF and the EPUB into _build/editions: `make editions`, or `python -m tools.editions --only pdf` for one.

The sources are those of the site, with the outputs that they hold: nothing is executed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jupyter_book.config import get_final_config
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

from tools import chromium
from tools.editions.cover import draw
from tools.editions.epub import pack

ROOT = Path(__file__).parents[2]
OUT = ROOT / "_build" / "editions"
WORK = OUT / "work"
PREFACE = "editions/preface"
SITE_PAGES = re.compile(r"/index$|^book/progress$")
SUBTITLE = "A textbook on training neural networks"

# What makes the book. The extensions that make its site stay away.
EXTENSIONS = ["myst_nb", "sphinx_external_toc", "sphinx_multitoc_numbering", "sphinx.ext.autodoc",
              "sphinx.ext.autosummary", "numpydoc", "sphinx_exercise", "sphinxcontrib.bibtex",
              "tools.evidence", "tools.editions.pages", "tools.editions.mathml"]  # fmt: skip
SITE_ONLY = ("html_", "notfound_", "ogp_", "sitemap_", "mathjax_", "comments_", "use_")

SETUP = (
    "hmargin={25mm,25mm}, vmargin={25mm,27mm}, verbatimforcewraps=true, verbatimwithframe=false, "
    "VerbatimColor={RGB}{244,246,248}, InnerLinkColor={RGB}{0,84,130}, OuterLinkColor={RGB}{0,84,130}, "
    "TitleColor={RGB}{0,0,0}, pre_border-width=0pt, pre_padding=4pt"
)
FONTS = Path("/usr/share/texmf/fonts/opentype/public")


def contents() -> dict[str, Any]:
    """_toc.yml with a preface in place of the site's first page, and numbered chapters.

    The pages about the parts and the list to tick lead the reader of the site; paper has its table of contents.
    """
    toc: dict[str, Any] = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    toc["root"] = PREFACE
    for part in toc["parts"]:
        part["numbered"] = 1
        part["chapters"] = [chapter for chapter in part["chapters"] if not SITE_PAGES.search(chapter["file"])]
    return toc


def citation() -> dict[str, Any]:
    """CITATION.cff, which knows the version and the authors."""
    known: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    return known


def moment() -> int:
    """The time that both editions bear, in seconds: that of the last commit, so that equal sources give equal books."""
    if "SOURCE_DATE_EPOCH" in os.environ:
        return int(os.environ["SOURCE_DATE_EPOCH"])
    asked = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)
    return int(answer.stdout) if answer.returncode == 0 else int((ROOT / "CHANGELOG.md").stat().st_mtime)


def configuration() -> dict[str, Any]:
    """The settings of _config.yml, with what a book needs otherwise than a site."""
    settings, _ = get_final_config(
        user_yaml=ROOT / "_config.yml", sourcedir=ROOT, cli_config={"latex_individualpages": False}
    )
    kept = {key: value for key, value in settings.items() if not key.startswith(SITE_ONLY)}
    version, author = str(citation()["version"]), settings["author"]
    preamble = (ROOT / "editions" / "preamble.tex").read_text(encoding="utf-8")
    return kept | {
        "extensions": EXTENSIONS,
        "external_toc_path": str(WORK / "_toc.yml"),
        "project": settings["html_title"],
        "version": version,
        "release": version,
        "pygments_style": settings["html_theme_options"]["pygments_light_style"],
        "nb_mime_priority_overrides": [(name, kind, place) for name in ("latex", "epub")
                                       for place, kind in enumerate(("image/png", "text/html"))],
        "editions_parts": contents()["parts"],
        "editions_site": settings["html_baseurl"],
        "latex_engine": "xelatex",
        "latex_documents": [(PREFACE, "ml-odyssey.tex", settings["html_title"], author, "manual")],
        "latex_toplevel_sectioning": "chapter",
        "latex_additional_files": [str(ROOT / "book" / "assets" / "cover.png")],
        "latex_elements": {
            "papersize": "a4paper",
            "figure_align": "H",
            "pointsize": "11pt",
            "extraclassoptions": "openany,oneside",
            "sphinxsetup": SETUP,
            "preamble": preamble,
            "maketitle": rf"\hypersetup{{pdftitle={{{settings['html_title']}}}, pdfauthor={{{author}}}}}"
            rf"\booktitlepage{{{settings['html_title']}}}{{{SUBTITLE}}}{{Version {version}}}",
            **dict.fromkeys(("fontpkg", "fncychap", "printindex", "makeindex", "babel", "polyglossia"), ""),
        },
        "latex_table_style": ["booktabs"],
        "latex_domain_indices": False,
        "html_math_renderer": "mathml",
        "html_permalinks": False,
        "html_copy_source": False,
        "html_use_index": False,
        "html_domain_indices": False,
        "html_static_path": [str(WORK / "static")],
        "epub_exclude_files": ["index.html"],
        "epub_css_files": ["epub.css"],
        "epub_show_urls": "no",
        "epub_use_index": False,
        **dict.fromkeys(("epub_identifier", "epub_uid", "epub_scheme", "epub_description"), "replaced"),  # by `pack`
    }  # fmt: skip


def sphinx(builder: str) -> None:
    """Let Sphinx write the pages of one edition; a warning ends the build."""
    static = WORK / "static"
    static.mkdir(parents=True, exist_ok=True)
    (WORK / "_toc.yml").write_text(yaml.safe_dump(contents()), encoding="utf-8")
    shutil.copy2(ROOT / "editions" / "epub.css", static)
    if builder == "epub":
        shutil.copy2(FONTS / "tex-gyre-math" / "texgyrepagella-math.otf", static)
    with patch_docutils(), docutils_namespace():
        app = Sphinx(srcdir=ROOT, confdir=None, outdir=WORK / builder, doctreedir=WORK / "doctrees",
                     buildername=builder, confoverrides=configuration(), status=None, warningiserror=True,
                     keep_going=True)  # fmt: skip
        app.build(force_all=True)
    if app.statuscode:
        sys.exit(f"{builder}: see the warnings above; each of them ends the build")


def complaints(log: str) -> list[str]:
    """What a log of LaTeX says against a book: references that lead nowhere, signs without a shape, wide lines."""
    lost = r"LaTeX Warning: (?:(?:Hyper r|R)eference|Citation|Label) .*?(?:undefined|multiply defined)"
    found = re.findall(lost, log)
    found += re.findall(r"Missing character: .*", log)
    found += re.findall(r"Float too large for page by [\d.]+pt[^\n]*", log)
    over = re.findall(r"Overfull \\[hv]box \(([\d.]+)pt (too \w+)\) ([^\n]*)", log)
    return sorted({*found, *(f"{points} points {much} {where}" for points, much, where in over if float(points) > 10)})


def pdf() -> None:
    """_build/editions/ml-odyssey.pdf"""
    sphinx("latex")
    folder = WORK / "latex"
    run = ["latexmk", "-xelatex", "-interaction=nonstopmode", "-halt-on-error", "-silent", "ml-odyssey.tex"]
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(moment()), "FORCE_SOURCE_DATE": "1", "max_print_line": "10000"}
    done = subprocess.run(run, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    log = (folder / "ml-odyssey.log").read_text(encoding="utf-8", errors="replace")
    if done.returncode:
        at = log.find("\n! ")
        sys.exit(f"LaTeX failed; the whole log is {folder / 'ml-odyssey.log'}:\n{log[at : at + 2000]}")
    if found := complaints(log):
        sys.exit("the PDF has faults:\n" + "\n".join(found))
    shutil.copy2(folder / "ml-odyssey.pdf", OUT)


def epub() -> None:
    """_build/editions/ml-odyssey.epub"""
    sphinx("epub")
    known, when = citation(), time.gmtime(moment())
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    about = {
        "identifier": f"{known['repository-code']}#{known['version']}",
        "title": settings["title"],
        "creator": settings["author"],
        "language": settings["sphinx"]["config"]["language"],
        "description": f"{SUBTITLE}, whose chapters are executable notebooks and build a NumPy package.",
        "rights": "Text and figures: CC BY 4.0. Code: MIT License.",
        "date": time.strftime("%Y-%m-%d", when),
        "modified": time.strftime("%Y-%m-%dT%H:%M:%SZ", when),
        "source": settings["html"]["baseurl"],
    }
    parts = [("", [PREFACE])]
    parts += [(part["caption"], [chapter["file"] for chapter in part["chapters"]]) for part in contents()["parts"]]
    draw(ROOT / "book" / "assets" / "cover.png", settings["title"], SUBTITLE, settings["author"], WORK / "cover.png")
    pack(WORK / "epub", parts, WORK / "cover.png", about, OUT / "ml-odyssey.epub")


# What each edition needs, and the Debian packages that have it.
NEEDS = {
    "pdf": {
        "xelatex": "texlive-xetex texlive-latex-recommended texlive-latex-extra texlive-fonts-recommended",
        "latexmk": "latexmk",
        "TeX Gyre's fonts": "fonts-texgyre fonts-texgyre-math tex-gyre",
        "DejaVu's fonts": "fonts-dejavu-core fonts-dejavu-extra",
    },
    "epub": {"Chromium": "chromium", "TeX Gyre's fonts": "fonts-texgyre fonts-texgyre-math tex-gyre"},
}


def missing(edition: str) -> list[str]:
    """What is not installed of what an edition needs."""
    here = {
        "xelatex": shutil.which("xelatex"),
        "latexmk": shutil.which("latexmk"),
        "Chromium": chromium.program(),
        "TeX Gyre's fonts": (FONTS / "tex-gyre-math").is_dir() and (edition == "epub" or (FONTS / "tex-gyre").is_dir()),
        "DejaVu's fonts": Path("/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Oblique.ttf").is_file(),
    }
    return [need for need in NEEDS[edition] if not here[need]]


def main(arguments: Sequence[str]) -> None:
    """Build the editions asked for: all that can be built are, and any that cannot makes the end a failure."""
    parser = argparse.ArgumentParser(prog="python -m tools.editions", description="Build the PDF and the EPUB.")
    parser.add_argument("--only", choices=list(NEEDS), help="one of the two")
    only = parser.parse_args(arguments).only
    left_out = []
    shutil.rmtree(WORK, ignore_errors=True)  # pages read by an older version of this package must not be used again
    for edition in [only] if only else NEEDS:
        if lacking := missing(edition):
            packages = " ".join(dict.fromkeys(" ".join(NEEDS[edition][need] for need in lacking).split()))
            left_out.append(f"The {edition.upper()} needs {', '.join(lacking)}. On Debian and Ubuntu:\n"
                            f"    sudo apt-get install --no-install-recommends {packages}")  # fmt: skip
            continue
        {"pdf": pdf, "epub": epub}[edition]()
        print(f"_build/editions/ml-odyssey.{edition}", flush=True)
    if left_out:
        sys.exit("\n".join(left_out))


if __name__ == "__main__":
    main(sys.argv[1:])

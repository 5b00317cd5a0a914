"""Builds the PDF and the EPUB into _build/editions: `python -m tools.editions`, from the root of the repository."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml
from jupyter_book.config import get_final_config
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

ROOT = Path(__file__).parents[2]
OUT = ROOT / "_build" / "editions"

# What makes the book; the extensions that make its site stay away.
EXTENSIONS = ["myst_nb", "sphinx_external_toc", "sphinx_multitoc_numbering", "sphinx.ext.autodoc",
              "sphinx.ext.autosummary", "numpydoc", "sphinx_exercise", "sphinxcontrib.bibtex",
              "tools.editions.pages"]  # fmt: skip


def contents() -> dict[str, Any]:
    """_toc.yml with a preface in place of the site's first page, and numbered chapters."""
    toc: dict[str, Any] = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    toc["root"] = "editions/preface"
    for part in toc["parts"]:
        part["numbered"] = 1
    return toc


def configuration() -> dict[str, Any]:
    """The settings of _config.yml, with what a printed book needs otherwise."""
    settings, _ = get_final_config(user_yaml=ROOT / "_config.yml", sourcedir=ROOT, cli_config={"latex_individualpages": False})
    kept = {key: value for key, value in settings.items() if not key.startswith(("html_theme", "notfound", "ogp", "sitemap", "use_", "comments_"))}
    (OUT / "work").mkdir(parents=True, exist_ok=True)
    (OUT / "work" / "_toc.yml").write_text(yaml.safe_dump(contents()), encoding="utf-8")
    return kept | {
        "extensions": EXTENSIONS,
        "external_toc_path": str(OUT / "work" / "_toc.yml"),
        "editions_parts": contents()["parts"],
        "latex_elements": {
            "papersize": "a4paper",
            "pointsize": "11pt",
            "extraclassoptions": "openany,oneside",
            "fontpkg": "", "fncychap": "", "printindex": "", "makeindex": "", "polyglossia": "", "babel": "",
            "preamble": (ROOT / "editions" / "preamble.tex").read_text(encoding="utf-8"),
            "maketitle": r"\booktitlepage{ML Odyssey}{A textbook on training neural networks}{Version 0.1.0}",
            "releasename": "",
            "sphinxsetup": "hmargin={25mm,25mm}, vmargin={25mm,27mm}, verbatimforcewraps=true, "
            "verbatimwithframe=false, VerbatimColor={RGB}{244,246,248}, InnerLinkColor={RGB}{0,84,130}, "
            "OuterLinkColor={RGB}{0,84,130}, TitleColor={RGB}{0,0,0}, "
            "pre_border-radius=2pt, pre_padding=3pt",
        },
        "project": "ML Odyssey",
        "pygments_style": "a11y-high-contrast-light",
        "latex_additional_files": [str(ROOT / "book" / "assets" / "cover.png")],
        "latex_engine": "xelatex",
        "latex_documents": [("editions/preface", "ml-odyssey.tex", "ML Odyssey", "The ML Odyssey authors", "manual")],
        "latex_toplevel_sectioning": "chapter",
        "html_css_files": [], "html_js_files": [], "html_static_path": [], 
        "nb_mime_priority_overrides": [("latex", "text/html", 35), ("latex", "image/png", 5), ("epub", "image/png", 5)],
    }


def sphinx(builder: str) -> None:
    """Let Sphinx write one edition; any warning is an error."""
    with patch_docutils(), docutils_namespace():
        app = Sphinx(srcdir=ROOT, confdir=None, outdir=OUT / "work" / builder, doctreedir=OUT / "work" / "doctrees",
                     buildername=builder, confoverrides=configuration(), warningiserror=True, keep_going=True)  # fmt: skip
        app.build(force_all=True)
        if app.statuscode:
            sys.exit(f"{builder}: there were warnings")


for builder in sys.argv[1:]:
    sphinx(builder)

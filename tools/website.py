"""A Sphinx extension: what the published site needs beside its pages, so that it loads nothing from elsewhere.

MathJax comes from the Python package sphinx-mathjax-offline, which holds the files of the release as they are; its own
extension would copy all 22 MB, of which a page can ask for 5.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

# The component that pages load, and all that it may load after: fonts, TeX extensions (without them one \boldsymbol
# blanks every formula of a page), and speech for screen readers.
MATHJAX = ("tex-mml-chtml.js", "output/chtml", "input", "a11y", "sre")


def mathjax_files() -> Path:
    """The folder of MathJax's files in the installed package."""
    spec = find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise ExtensionError("the package sphinx-mathjax-offline is not installed; run `make setup`")
    return Path(spec.origin).parent / "static" / "mathjax"


def copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    """Copy MathJax to _static/mathjax of a finished HTML site."""
    if error is not None or app.builder.format != "html":
        return
    source, target = mathjax_files(), Path(app.outdir) / "_static" / "mathjax"
    for name in MATHJAX:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)


def keep_live_code(app: Sphinx, error: Exception | None) -> None:
    """After a new build of the book, `Live code` goes on with the browser edition that `make lite` built before."""
    edition = Path(app.outdir) / "lite" / "live.js"
    if error is None and app.builder.format == "html" and edition.is_file():
        shutil.copy2(edition, Path(app.outdir) / "_static")


def scripts_once(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Drop scripts that stand twice in a page: some extensions are set up twice, and a second `const` is an error."""
    del app, page, template, doctree
    kept: dict[tuple[Any, ...], Any] = {}
    for script in context.get("script_files", []):
        attributes = getattr(script, "attributes", {})
        kept.setdefault((str(getattr(script, "filename", script) or ""), str(sorted(attributes.items()))), script)
    context["script_files"] = list(kept.values())


def better_excerpts(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """The search page alone loads the script that chooses what to show of the pages found."""
    del template, context, doctree
    if page == "search":
        app.add_js_file("search.js", loading_method="defer")


def without_old_roles(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Take the roles from a list of sources: docutils writes one that ARIA has given up, and a list of no items."""
    del app, page, template, doctree
    if "body" in context:
        for role in (' role="doc-biblioentry"', ' role="list"'):
            context["body"] = context["body"].replace(role, "")


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("html-page-context", scripts_once, priority=900)  # after the extensions that add scripts to a page
    app.connect("html-page-context", better_excerpts)
    app.connect("html-page-context", without_old_roles)
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", keep_live_code, priority=900)  # after the static files
    return {"parallel_read_safe": True, "parallel_write_safe": True}

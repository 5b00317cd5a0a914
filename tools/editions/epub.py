"""Packs the pages that Sphinx wrote into an EPUB 3: package document, contents, cover, a zip that is always the same.

Sphinx packs one itself, but lists in its contents only what the first page names, and does not declare MathML.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

XHTML = "{http://www.w3.org/1999/xhtml}"
TYPES = {".xhtml": "application/xhtml+xml", ".css": "text/css", ".png": "image/png", ".svg": "image/svg+xml",
         ".otf": "application/vnd.ms-opentype"}  # fmt: skip
CONTAINER = """<?xml version="1.0" encoding="UTF-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/></rootfiles>
</container>
"""
PAGE = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" lang="en" xml:lang="en">
<head><title>{title}</title></head>
<body>{body}</body>
</html>
"""
FEATURES = ("alternativeText", "MathML", "readingOrder", "structuralNavigation", "tableOfContents")
SUMMARY = "Every picture has a description in words, every formula is MathML, and chapters and sections can be reached."


def words(element: ElementTree.Element) -> str:
    """The text of a heading, formulas included, on one line."""
    return " ".join("".join(element.itertext()).split())


def sections(page: Path) -> tuple[str, list[tuple[str, str]]]:
    """A page's title, and the id and title of each of its sections."""
    root = ElementTree.parse(page).getroot()
    title = next(root.iter(f"{XHTML}h1"))
    found = []
    for section in root.iter(f"{XHTML}section"):
        heading = section.find(f"{XHTML}h2")
        if heading is not None and section.get("id"):
            found.append((section.get("id", ""), words(heading)))
    return words(title), found


def navigation(parts: Sequence[tuple[str, Sequence[str]]], pages: Path) -> str:
    """The contents: parts, their chapters, and the sections of these."""

    def chapter(name: str) -> str:
        title, found = sections(pages / f"{name}.xhtml")
        inner = "".join(f'<li><a href="{name}.xhtml#{place}">{escape(text)}</a></li>' for place, text in found)
        return f'<li><a href="{name}.xhtml">{escape(title)}</a>{f"<ol>{inner}</ol>" if inner else ""}</li>'

    rows = [f"<li><span>{escape(caption)}</span><ol>{''.join(map(chapter, names))}</ol></li>" if caption
            else "".join(map(chapter, names)) for caption, names in parts]  # fmt: skip
    return PAGE.format(
        title="Contents", body=f'<nav epub:type="toc" id="toc"><h1>Contents</h1><ol>{"".join(rows)}</ol></nav>'
    )


def used(pages: Path, names: Sequence[str]) -> Iterator[Path]:
    """The files that the pages name: pictures, style sheets, and what these load."""
    seen: set[Path] = set()
    for name in names:
        page = pages / f"{name}.xhtml"
        for element in ElementTree.parse(page).getroot().iter():
            target = element.get("src") or (element.get("href") if element.tag == f"{XHTML}link" else None)
            if target and ":" not in target:
                seen.add((page.parent / target).resolve())
    for sheet in [path for path in seen if path.suffix == ".css"]:
        seen.update(sheet.parent / font for font in ("texgyrepagella-math.otf",) if font in sheet.read_text("utf-8"))
    yield from sorted(seen)


def package(files: Sequence[Path], names: Sequence[str], pages: Path, about: dict[str, str]) -> str:
    """The package document: what the book is, which files it has, and in which order its pages are read."""
    meta = [f'<dc:identifier id="id">{escape(about["identifier"])}</dc:identifier>',
            *(f"<dc:{key}>{escape(about[key])}</dc:{key}>"
              for key in ("title", "creator", "language", "description", "rights", "date", "source")),
            f'<meta property="dcterms:modified">{about["modified"]}</meta>',
            '<meta name="cover" content="picture"/>',
            *(f'<meta property="schema:accessMode">{mode}</meta>' for mode in ("textual", "visual")),
            '<meta property="schema:accessModeSufficient">textual</meta>',
            *(f'<meta property="schema:accessibilityFeature">{feature}</meta>' for feature in FEATURES),
            '<meta property="schema:accessibilityHazard">none</meta>',
            f'<meta property="schema:accessibilitySummary">{SUMMARY}</meta>']  # fmt: skip
    manifest = ['<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>',
                '<item id="cover" href="cover.xhtml" media-type="application/xhtml+xml"/>',
                '<item id="picture" href="cover.png" media-type="image/png" properties="cover-image"/>']  # fmt: skip
    for path in files:
        name = path.relative_to(pages).as_posix()
        math = ' properties="mathml"' if path.suffix == ".xhtml" and "<math" in path.read_text("utf-8") else ""
        manifest.append(f'<item id={identity(name)} href={quoteattr(name)} media-type="{TYPES[path.suffix]}"{math}/>')
    spine = ['<itemref idref="cover"/>', '<itemref idref="nav"/>']
    spine += [f"<itemref idref={identity(f'{name}.xhtml')}/>" for name in names]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<package xmlns="http://www.idpf.org/2007/opf" version="3.0" '
        'unique-identifier="id" xml:lang="en"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">\n'
        + "\n".join(meta) + "\n</metadata><manifest>\n" + "\n".join(manifest) + "\n</manifest><spine>\n"
        + "\n".join(spine) + "\n</spine></package>\n"
    )  # fmt: skip


def page(path: Path) -> str:
    """A page with a head that says no more than an e-reader needs, and its language."""
    text = path.read_text("utf-8")
    title, _ = sections(path)
    sheets = dict.fromkeys(re.findall(r'<link rel="stylesheet"[^>]*/>', text))
    head = f'<head><meta charset="utf-8"/><title>{escape(title)}</title>{"".join(sheets)}</head>'
    text = re.sub(r"<head>.*?</head>", lambda match: head, text, count=1, flags=re.DOTALL)
    return re.sub(r"<html ([^>]*)>", r'<html \1 lang="en" xml:lang="en">', text, count=1)


def identity(name: str) -> str:
    return quoteattr("f-" + name.replace("/", "-"))


def pack(pages: Path, parts: Sequence[tuple[str, Sequence[str]]], cover: Path, about: dict[str, str],
         target: Path) -> None:  # fmt: skip
    """Write the EPUB.

    `parts` are pairs of a caption (empty for pages before the first part) and the names of its pages in `pages`.
    """
    names = [name for _, chapters in parts for name in chapters]
    files = [*(pages / f"{name}.xhtml" for name in names), *used(pages, names)]
    picture = f'<img src="cover.png" alt={quoteattr(about["title"])} style="max-width: 100%"/>'
    cover_page = f'<section epub:type="cover">{picture}</section>'
    texts = {
        "META-INF/container.xml": CONTAINER,
        "OEBPS/content.opf": package(files, names, pages, about),
        "OEBPS/nav.xhtml": navigation(parts, pages),
        "OEBPS/cover.xhtml": PAGE.format(title=escape(about["title"]), body=cover_page),
    }
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as book:

        def add(name: str, content: str | bytes, compression: int = zipfile.ZIP_DEFLATED) -> None:
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = compression
            entry.external_attr = 0o644 << 16
            book.writestr(entry, content)

        add("mimetype", "application/epub+zip", zipfile.ZIP_STORED)  # first and uncompressed, as the standard wants
        for name, text in texts.items():
            add(name, text)
        add("OEBPS/cover.png", cover.read_bytes())
        for path in files:
            content = page(path) if path.suffix == ".xhtml" else path.read_bytes()
            add(f"OEBPS/{path.relative_to(pages).as_posix()}", content)

"""A Sphinx extension: the map and the lists of chapters, the list of exercises, stored numbers, and descriptions.

What it shows comes from book/chapters.yml and from the notebooks, so that no page repeats by hand what another says.

```{chapter-map}```                  the picture of all chapters; left out of paper, where the list says the same
```{chapter-list} autograd```        the chapters of a part: what the reader will be able to do, time and difficulty
```{chapter-table} autograd```       the chapters of a part with what they need and their exercises
```{exercise-list} autograd```       the chapters and exercises of a part, which progress.js turns into a checklist
{stored}`tape-accuracy`              a number that a chapter stored with `glue`, on any page
{total}`chapters`                    how many chapters, exercises or hours the book has
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

from tools.chapter_data import Book, Chapter, load_book
from tools.chapter_map import DIFFICULTY, draw
from tools.chapters import chapters
from tools.source_cells import load

ROOT = Path(__file__).resolve().parents[1]


@cache
def the_book() -> Book:
    return load_book(ROOT)


@cache
def stored_numbers() -> dict[str, str]:
    """name → text of all that the chapters glued. The names begin with the chapter's, so no two are alike."""
    found: dict[str, str] = {}
    for path in chapters(ROOT):
        for cell in load(path)["cells"]:
            for output in cell.get("outputs", []):
                record = output.get("metadata", {}).get("scrapbook")
                if record:
                    text = "".join(output["data"]["application/papermill.record/text/plain"])
                    found[record["name"]] = str(ast.literal_eval(text))
    return found


class StoredRole(SphinxRole):
    """{stored}`name`: what a chapter glued under that name."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        text = stored_numbers().get(self.text)
        if text is None:
            message = self.inliner.reporter.error(f"no chapter stores a number {self.text!r}", line=self.lineno)
            return [], [message]
        return [nodes.Text(text)], []


class TotalRole(SphinxRole):
    """{total}`chapters`, {total}`exercises`, {total}`hours`."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        book = the_book().chapters.values()
        totals = {
            "chapters": len(book),
            "exercises": sum(len(chapter.exercises) for chapter in book),
            "hours": round(sum(chapter.minutes for chapter in book) / 60),
        }
        if self.text not in totals:
            message = self.inliner.reporter.error(f"{self.text!r} is not one of {', '.join(totals)}", line=self.lineno)
            return [], [message]
        return [nodes.Text(str(totals[self.text]))], []


def link(docname: str, target: str, text: str, kind: str = "doc") -> nodes.Node:
    """A cross-reference to a page (`doc`) or an exercise (`ref`), which every builder resolves in its own way."""
    target = f"/{target}" if kind == "doc" else target
    return addnodes.pending_xref(
        "", nodes.inline("", text), refdomain="std", reftype=kind, reftarget=target, refexplicit=True, refdoc=docname,
        refwarn=True,
    )  # fmt: skip


def facts(chapter: Chapter) -> str:
    return f"{chapter.minutes} min, {DIFFICULTY[chapter.difficulty]}"


class chapter_map(nodes.General, nodes.Element):
    """Stands where the picture will be; its links are known only when a page is written."""


class ChapterMap(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(ROOT / "book" / "chapters.yml"))
        return [chapter_map()]


def visit_map(translator: Any, node: nodes.Element) -> None:
    """In an EPUB, whose readers scale and colour pictures as they like, the list must do."""
    if translator.builder.name in ("html", "dirhtml"):
        here = translator.builder.current_docname
        translator.body.append(draw(the_book(), lambda page: translator.builder.get_relative_uri(here, page)))
    raise nodes.SkipNode


def skip_map(translator: Any, node: nodes.Element) -> None:
    raise nodes.SkipNode


class PartDirective(SphinxDirective):
    """A directive whose argument is a part: autograd, optim, nn, train."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        part = self.arguments[0]
        if part not in the_book().parts:
            raise self.error(f"{part!r} is not a part; the parts are {', '.join(the_book().parts)}")
        self.env.note_dependency(str(ROOT / "book" / "chapters.yml"))
        return [self.content_of(the_book().of_part(part))]

    def content_of(self, part: list[Chapter]) -> nodes.Node:
        raise NotImplementedError

    def link(self, target: str, text: str, kind: str = "doc") -> nodes.Node:
        return link(self.env.docname, target, text, kind)


class ChapterList(PartDirective):
    def content_of(self, part: list[Chapter]) -> nodes.Node:
        listing = nodes.bullet_list(classes=["odyssey-chapters"], bullet="-")
        for chapter in part:
            head = nodes.paragraph("", "", nodes.strong("", "", self.link(chapter.page, chapter.title)))
            needs = [the_book().chapters[need].title for need in chapter.needs]
            after = f", after {', '.join([*needs[:-2], ' and '.join(needs[-2:])])}" if needs else ""
            head += nodes.inline("", f" · {facts(chapter)}{after}", classes=["odyssey-facts"])
            body = nodes.paragraph("", f"{chapter.able[0].upper()}{chapter.able[1:]}.")
            listing += nodes.list_item("", head, body)
        return listing


class ChapterTable(PartDirective):
    HEAD = ("chapter and module", "builds on", "time", "difficulty", "exercises")

    def content_of(self, part: list[Chapter]) -> nodes.Node:
        group = nodes.tgroup(cols=len(self.HEAD))
        group += [nodes.colspec(colwidth=width) for width in (38, 28, 12, 12, 10)]
        group += nodes.thead("", self.row([nodes.Text(text)] for text in self.HEAD))
        body = nodes.tbody()
        for chapter in part:
            needs: list[nodes.Node] = []
            for need in chapter.needs:
                needs += [nodes.Text(", ")] * bool(needs) + [self.link(need, the_book().chapters[need].title)]
            body += self.row([
                [self.link(chapter.page, chapter.title), nodes.Text(" "), nodes.literal("", chapter.module)],
                needs or [nodes.Text("–")],
                [nodes.Text(f"{chapter.minutes} min")], [nodes.Text(DIFFICULTY[chapter.difficulty])],
                [nodes.Text(str(len(chapter.exercises)))],
            ])  # fmt: skip
        group += body
        return nodes.table("", group, classes=["odyssey-table"])

    def row(self, cells: Any) -> nodes.row:
        return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells))


class ExerciseList(PartDirective):
    def content_of(self, part: list[Chapter]) -> nodes.Node:
        listing = nodes.bullet_list(classes=["odyssey-checklist"], bullet="-")
        for chapter in part:
            inner = nodes.bullet_list(bullet="-")
            for label, title in chapter.exercises.items():
                inner += nodes.list_item("", nodes.paragraph("", "", self.link(label, title, "ref")))
            listing += nodes.list_item("", nodes.paragraph("", "", self.link(chapter.page, chapter.title)), inner)
        return listing


def describe(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Give a page its description, before sphinxext.opengraph makes one of its first words, formulas and all."""
    del app, template
    text = the_book().descriptions.get(page)
    if doctree is not None and text is not None:
        context["meta"] = {**(context.get("meta") or {}), "og:description": text}
        context["metatags"] = context.get("metatags", "") + f'<meta name="description" content="{text}" />\n'


def forget(app: Sphinx) -> None:
    """A second build in the same process reads the files again."""
    del app
    the_book.cache_clear()
    stored_numbers.cache_clear()


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_node(
        chapter_map, html=(visit_map, None), latex=(skip_map, None), text=(skip_map, None), man=(skip_map, None),
        texinfo=(skip_map, None),
    )  # fmt: skip
    app.add_directive("chapter-map", ChapterMap)
    app.add_directive("chapter-list", ChapterList)
    app.add_directive("chapter-table", ChapterTable)
    app.add_directive("exercise-list", ExerciseList)
    app.add_role("stored", StoredRole())
    app.add_role("total", TotalRole())
    app.connect("builder-inited", forget)
    app.connect("html-page-context", describe, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

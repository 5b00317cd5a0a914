"""A Sphinx extension: what paper and e-readers need otherwise than the web.

Solutions move to the end of their chapter, code that the web folds away is left out, figures with a slider say so, and
tables that a cell printed as HTML become tables of the book.
"""

from __future__ import annotations

import re
from typing import Any

from bs4 import BeautifulSoup
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx_exercise.nodes import exercise_enumerable_node, exercise_node, is_exercise_node, solution_node

# Where code in a table may break: after these signs, and between the words of a LongName.
BREAKS = r"(?<=[_.,(=\[/])(?=[^\s)\]])|(?<=[a-z]{4})(?=[A-Z])"


def outputs(document: nodes.document) -> list[nodes.container]:
    """The outputs of a page that exist in several forms."""
    return [node for node in document.findall(nodes.container) if node.get("nb_element") == "mime_bundle"]


def forms(output: nodes.container) -> dict[str, nodes.container]:
    """The forms of an output by their MIME types."""
    return {form["mime_type"]: form for form in output.children}


class Paper(SphinxTransform):
    """Changes a page as soon as it is read, so that tables of contents and references know the changes."""

    default_priority = 600  # after the solutions have been gathered from the cells between their marks

    def apply(self, **options: Any) -> None:
        if not self.env.docname.startswith("book/"):
            return
        self.leave_out_folded_code()
        for output in outputs(self.document):
            found = forms(output)
            if "text/html" in found and "image/png" in found:
                self.name_the_slider(output)
            elif "text/html" in found:
                found["text/html"].children = [printed_table(found["text/html"].astext())]
        for box in list(self.document.findall(lambda node: is_exercise_node(node) or isinstance(node, solution_node))):
            for part in [part for part in box.children if isinstance(part, nodes.section)]:
                part["ids"] = []  # it is the same in all exercises of a page
                part.replace_self(part.children)
        self.collect_solutions()

    def leave_out_folded_code(self) -> None:
        for cell in list(self.document.findall(nodes.container)):
            classes = cell["classes"]
            if "cell" in classes and ("tag_hide-input" in classes or "tag_hide-cell" in classes):
                for part in [part for part in cell.children if "cell_input" in part.get("classes", ())]:
                    cell.remove(part)

    def name_the_slider(self, output: nodes.container) -> None:
        figure = output.parent
        while figure is not None and not isinstance(figure, nodes.figure):
            figure = figure.parent
        caption = next((part for part in figure or () if isinstance(part, nodes.caption)), None)
        if figure is None or caption is None:
            raise ValueError(f"{self.env.docname}: a figure with a slider has no caption; give its cell one")
        url = f"{self.config.editions_site}{self.env.docname}.html#{figure['ids'][0]}"
        caption += nodes.Text(" ")
        caption += nodes.reference("", "On the web this figure has a slider.", refuri=url)

    def collect_solutions(self) -> None:
        solutions = list(self.document.findall(solution_node))
        if not solutions:
            return
        section = nodes.section("", nodes.title("", "Solutions"), ids=["solutions"])
        for solution in solutions:
            solution.parent.remove(solution)
            solution["classes"] = ["solution"]  # no longer a drop-down
            section += solution
        self.document[0] += section
        for exercise in list(self.document.findall(is_exercise_node)):
            mine = next((s for s in solutions if s["target_label"] == exercise["label"]), None)
            if mine is not None:
                link = nodes.reference("", "", nodes.inline("", "Solution"), refid=mine["ids"][0], internal=True)
                below = nodes.container("", nodes.paragraph("", "", link), classes=["to-solution"])
                exercise.parent.insert(exercise.parent.index(exercise) + 1, below)


def printed_table(html: str) -> nodes.table:
    """A table that a cell displayed as HTML, as a table of the book."""
    rows = BeautifulSoup(html, "html.parser").find_all("tr")
    cells = [row.find_all(["th", "td"]) for row in rows]
    widths = [max(len(cell.get_text()) for cell in column) for column in zip(*cells, strict=True)]
    group = nodes.tgroup("", *(nodes.colspec(colwidth=max(6, min(width, 40))) for width in widths), cols=len(widths))
    head, body = nodes.thead(), nodes.tbody()
    for row in cells:
        entries = [nodes.entry("", nodes.paragraph("", "", *inline(cell))) for cell in row]
        heading = all(cell.name == "th" for cell in row)
        (head if heading else body).append(nodes.row("", *entries))
    group += [part for part in (head, body) if len(part)]
    return nodes.table("", group, classes=["colwidths-given"])


def inline(cell: Any) -> list[nodes.Node]:
    """The content of a cell of an HTML table: text, and text in <code>."""
    return [
        nodes.literal("", part.get_text()) if getattr(part, "name", None) == "code" else nodes.Text(part.get_text())
        for part in cell.children
    ]


class Citations(SphinxPostTransform):
    """Sources as a plain list where they stand: LaTeX would gather them elsewhere, and EPUB has given up their role."""

    default_priority = 30  # after the references to them are resolved, before LaTeX looks for them

    def run(self, **options: Any) -> None:
        for citation in list(self.document.findall(nodes.citation)):
            content = [part for part in citation.children if not isinstance(part, nodes.label)]
            source = nodes.paragraph()
            for identity in citation["ids"]:
                source += nodes.target("", "", ids=[identity])
                place = f"cite.{citation['docname']}:{identity}"  # what a citation links to in LaTeX
                source += nodes.raw("", rf"\hypertarget{{{place}}}{{}}", format="latex")
            for part in content:
                source += part.children if isinstance(part, nodes.paragraph) else [part]
            listed = nodes.container("", source, classes=["source"])
            citation.replace_self(listed)
            listed["ids"] = []  # the targets have them, for LaTeX


class Parts(SphinxPostTransform):
    """LaTeX alone: each group of chapters begins a part, and the first page is a preface without a number."""

    default_priority = 1
    builders = ("latex",)

    def run(self, **options: Any) -> None:
        book = self.document[0]
        parts = [node for node in book.children if "toctree-wrapper" in node.get("classes", ())]
        preface = nodes.section("", *(node for node in book.children if node not in parts), ids=["preface"])
        captions = [part["caption"] for part in self.config.editions_parts]
        title = nodes.title("", self.config.project)
        book.children = []
        book += [title, nodes.raw("", r"\bookpreface", format="latex"), preface]
        for caption, part in zip(captions, parts, strict=True):
            book += [nodes.raw("", rf"\bookpart{{{caption}}}", format="latex"), part]


class Tables(SphinxPostTransform):
    """LaTeX alone: code in a table may break where a reader expects it, so that the columns fit the page."""

    default_priority = 900
    builders = ("latex",)

    def run(self, **options: Any) -> None:
        for entry in self.document.findall(nodes.entry):
            for text in list(entry.findall(nodes.Text)):
                if isinstance(text.parent, nodes.literal):
                    text.parent.replace(text, nodes.Text(re.sub(BREAKS, "\u200b", text)))


def begin_box(writer: Any, node: nodes.Element) -> None:
    """LaTeX: an exercise or a solution, with the names by which references look for it."""
    kind = "booksolution" if isinstance(node, solution_node) else "bookexercise"
    writer.body.append("\n\\par" + "".join(writer.hypertarget(identity) for identity in node["ids"]))
    if kind == "bookexercise":
        writer.body.append(rf"\phantomsection\label{{exercise:{node['label']}}}")
    writer.body.append(f"\n\\begin{{{kind}}}")
    writer.context.append(f"\\end{{{kind}}}\n")


def end_box(writer: Any, node: nodes.Element) -> None:
    """LaTeX: the end of an exercise or a solution."""
    writer.body.append(writer.context.pop())


def own_style_alone(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Keep the style sheets of the site's extensions from the EPUB, which has its own."""
    kept = ("epub.css", "pygments.css")
    context["css_files"] = [sheet for sheet in context["css_files"] if str(sheet.filename).endswith(kept)]
    context["script_files"] = []


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_config_value("editions_parts", [], "env")
    app.add_config_value("editions_site", "", "env")
    app.add_transform(Paper)
    app.add_post_transform(Citations)
    app.add_post_transform(Parts)
    app.add_post_transform(Tables)
    for node in (exercise_node, exercise_enumerable_node, solution_node):
        app.add_node(node, override=True, latex=(begin_box, end_box))
    app.connect("html-page-context", own_style_alone, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

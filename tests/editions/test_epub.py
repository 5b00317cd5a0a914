"""The EPUB is valid, complete, and readable without JavaScript: formulas in MathML, words for every picture."""

import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from posixpath import normpath
from xml.etree import ElementTree

import pytest

from tests.editions import sources
from tests.editions.conftest import edition
from tests.editions.sources import NAMES, PREFACE
from tools.editions.mathml import in_style, plain

XHTML, MATHML = "{http://www.w3.org/1999/xhtml}", "{http://www.w3.org/1998/Math/MathML}"
OPF = "{http://www.idpf.org/2007/opf}"
Pages = dict[str, ElementTree.Element]


def read(path: Path) -> Pages:
    """The pages of an EPUB by their names."""
    with zipfile.ZipFile(path) as book:
        return {name.removeprefix("OEBPS/"): ElementTree.fromstring(book.read(name)) for name in book.namelist()
                if name.endswith(".xhtml")}  # fmt: skip


@pytest.fixture(scope="module")
def pages() -> Pages:
    return read(edition("epub"))


def words(element: ElementTree.Element, without: tuple[str, ...] = ()) -> Iterator[str]:
    """The text of an element, without that of some kinds of elements in it."""
    yield element.text or ""
    for child in element:
        if child.tag not in without:
            yield from words(child, without)
        yield child.tail or ""


def prose(page: ElementTree.Element) -> str:
    return "".join(words(page, (f"{XHTML}pre", f"{XHTML}code", f"{MATHML}math", f"{XHTML}head")))


def lost_links(pages: Pages, files: set[str]) -> list[str]:
    """The links inside the book that lead nowhere."""
    places = {name: {element.get("id") for element in page.iter()} for name, page in pages.items()}
    lost = []
    for name, page in pages.items():
        for element in page.iter():
            target = element.get("href") or element.get("src") or ""
            if not target or re.match(r"[a-z]+:", target):
                continue
            path, _, place = target.partition("#")
            file = normpath((PurePosixPath(name).parent / path).as_posix()) if path else name
            if f"OEBPS/{file}" not in files or (place and place not in places[file]):
                lost.append(f"{name}: {target}")
    return lost


def test_the_container_is_as_the_standard_wants() -> None:
    with zipfile.ZipFile(edition("epub")) as book:
        first = book.infolist()[0]
        assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
        assert book.read("mimetype") == b"application/epub+zip"
        assert book.testzip() is None


def test_epubcheck_finds_nothing() -> None:
    program = shutil.which("epubcheck")
    if program is None:
        pytest.skip("epubcheck is not installed: apt-get install epubcheck")
    jar = Path(program).read_bytes()[:2] == b"PK"  # Debian links the name to the archive itself
    run = ["java", "-jar", program] if jar else [program]
    done = subprocess.run([*run, str(edition("epub"))], capture_output=True, text=True, check=False)
    assert "0 fatals / 0 errors / 0 warnings" in done.stdout + done.stderr, done.stderr[-3000:]


def test_it_says_what_it_is() -> None:
    with zipfile.ZipFile(edition("epub")) as book:
        package = ElementTree.fromstring(book.read("OEBPS/content.opf"))
    found = {element.tag.split("}")[1]: element.text for element in package[0] if element.tag.startswith("{http://purl")}
    assert (found["title"], found["creator"], found["language"]) == ("ML Odyssey", "The ML Odyssey authors", "en")
    spine = [item.get("idref") for item in package.iter(f"{OPF}itemref")]
    assert spine == ["cover", "nav", *(f"f-{name.replace('/', '-')}.xhtml" for name in [PREFACE, *NAMES])]


def test_the_contents_have_all_parts_and_chapters(pages: Pages) -> None:
    rows = pages["nav.xhtml"].find(f".//{XHTML}nav/{XHTML}ol")
    assert rows is not None
    chapters = [("".join(row[0].itertext()), row.findall(f"{XHTML}ol/{XHTML}li/{XHTML}a")) for row in rows]
    listed = [(caption, ["".join(link.itertext()) for link in links if "#" not in link.get("href", "")])
              for caption, links in chapters]  # fmt: skip
    assert listed == [("Preface", []), *sources.numbered_titles("{}. ").items()]


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_there_with_its_title_and_captions(name: str, pages: Pages) -> None:
    page = pages[f"{name}.xhtml"]
    heading = "".join(next(page.iter(f"{XHTML}h1")).itertext())
    assert heading.endswith(sources.title(name))
    shown = [sources.letters("".join(caption.itertext())) for caption in page.iter(f"{XHTML}figcaption")]
    wanted = [sources.letters(re.split(r"[$`{\\*\[]", caption)[0]) for caption in sources.captions(name)]
    assert len(shown) == len(wanted) and all(w in s for s, w in zip(shown, wanted, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_every_formula_is_mathml(name: str, pages: Pages) -> None:
    page = pages[f"{name}.xhtml"]
    # The links between an exercise and its solution say the title of the exercise again.
    twice = [part for part in page.iter() if "to-solution" in (part.get("class") or "")]
    twice += [link for link in page.iter(f"{XHTML}a") if link.get("href", "").startswith("#ex-")]
    again = sum(len(list(part.iter(f"{MATHML}math"))) for part in twice)
    assert len(list(page.iter(f"{MATHML}math"))) - again == sources.formulas(name)


@pytest.mark.parametrize("name", NAMES)
def test_equations_have_the_numbers_of_their_chapter(name: str, pages: Pages) -> None:
    places = [box for box in pages[f"{name}.xhtml"].iter(f"{XHTML}div") if box.get("id", "").startswith("equation-")]
    numbers = {box.get("id", "")[9:]: "".join(box[-1].itertext()) for box in places}
    chapter = NAMES.index(name) + 1
    assert numbers == {label: f"({chapter}.{n})" for n, label in enumerate(sources.equations(name), start=1)}


@pytest.mark.parametrize("name", NAMES)
def test_the_prose_has_the_numbers_of_the_runs(name: str, pages: Pages) -> None:
    stream = sources.letters("".join(pages[f"{name}.xhtml"].itertext()))
    assert [key for key, phrase in sources.glued(name) if phrase not in stream] == []


@pytest.mark.parametrize("name", [PREFACE, *NAMES])
def test_no_markup_is_left(name: str, pages: Pages) -> None:
    page = pages[f"{name}.xhtml"]
    assert sources.raw("".join(page.itertext())) == []
    assert sources.raw(prose(page), sources.RAW_IN_PROSE) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_pictures_are_there(name: str, pages: Pages) -> None:
    assert len(list(pages[f"{name}.xhtml"].iter(f"{XHTML}img"))) == sources.pictures(name)


def test_pictures_have_words_and_nothing_runs(pages: Pages) -> None:
    pictures = [picture for page in pages.values() for picture in page.iter(f"{XHTML}img")]
    assert len(pictures) > 100
    assert [picture.get("src") for picture in pictures if len(picture.get("alt", "")) < 10] == []
    assert not any(list(page.iter(f"{XHTML}script")) for page in pages.values())
    assert not any(name.startswith("on") for page in pages.values() for part in page.iter() for name in part.keys())


def test_links_inside_lead_somewhere(pages: Pages) -> None:
    with zipfile.ZipFile(edition("epub")) as book:
        files = set(book.namelist())
    assert sum(len(list(page.iter(f"{XHTML}a"))) for page in pages.values()) > 1000
    assert lost_links(pages, files) == []


def test_a_lost_link_is_seen() -> None:
    links = '<a href="#here"/><a href="#there"/><a href="b.xhtml"/><img src="c.png"/>'
    page = ElementTree.fromstring(f'<p xmlns="http://www.w3.org/1999/xhtml" id="here">{links}</p>')
    assert lost_links({"a.xhtml": page}, {"OEBPS/a.xhtml", "OEBPS/c.png"}) == ["a.xhtml: #there", "a.xhtml: b.xhtml"]


@pytest.mark.parametrize(
    ("letter", "style", "sign"),
    [("x", "BOLD", "𝐱"), ("R", "DOUBLE-STRUCK", "ℝ"), ("L", "SCRIPT", "ℒ"), ("θ", "BOLD ITALIC", "𝜽"),
     ("1", "BOLD", "𝟏"), ("N", "DOUBLE-STRUCK", "ℕ"), ("+", "BOLD", "+")],
)  # fmt: skip
def test_letters_have_unicodes_signs(letter: str, style: str, sign: str) -> None:
    assert in_style(letter, style) == sign


def test_mathml_keeps_texs_spaces() -> None:
    assert plain('<mrow data-mjx-texclass="ORD">\n  <mo>/</mo>\n</mrow>') == '<mo lspace="0" rspace="0">/</mo>'
    assert 'form="prefix"' in plain("<mo>=</mo><mo>−</mo><mn>1</mn>")
    assert 'form="prefix"' not in plain("<mi>a</mi><mo>−</mo><mn>1</mn>")
    table = '<mtable columnalign="right left" columnspacing="0em"><mtr><mtd/><mtd/></mtr></mtable>'
    aligned = plain(f'<math xmlns="http://www.w3.org/1998/Math/MathML">{table}</math>')
    assert re.findall(r"text-align: (\w+)", aligned) == ["right", "left"] and aligned.startswith("<math xmlns=")
    assert "<mspace" in plain("<mi>n</mi>\n<mi>log</mi>\n<mo>\u2061</mo>")

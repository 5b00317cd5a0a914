"""Figures with a slider: what is in the page, what is hidden, what the script touches; and the optimizers' colours."""

import itertools
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest

from odyssey.figures import OPTIMIZER_COLORS, frames, glue
from odyssey.figures.frames import SCRIPT, frame_figure

pyplot = pytest.importorskip("matplotlib.pyplot")  # a test of the package alone has no Matplotlib
Figure = pyplot.Figure

ROOT = Path(__file__).resolve().parents[2]


def picture(slopes=(1, 2, 3)):
    fig = Figure(figsize=(4, 3))
    ax = fig.add_subplot()
    ax.plot([0, 1], [1, 1], color="#123456")
    return fig, [ax.plot([0, 1], [0, slope]) for slope in slopes]


def make(fig=None, groups=None, **options):
    if fig is None:
        fig, groups = picture()
    words = {"name": "slopes", "label": "Slope", "values": ["1", "2", "3"], "alt": "A line that gets steeper."}
    return frame_figure(fig, groups, **words | options)


class Page(HTMLParser):
    """The tags of an HTML text with their attributes, and the text inside each kind of tag."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self.open = {}, {}, []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.setdefault(tag, []).append(dict(attributes))
        self.open += [tag] if tag not in ("img", "input") else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.texts[self.open[-1]] = self.texts.get(self.open[-1], "") + text


def drawing(made):
    """The SVG that travels in the picture's address, parsed."""
    kind, _, text = Page(made.html).tags["img"][0]["src"].partition(",")
    assert kind == "data:image/svg+xml"
    root = ElementTree.fromstring(unquote(text))
    for element in root.iter():
        element.tag = element.tag.removeprefix("{http://www.w3.org/2000/svg}")
    return root


def parts(made):
    """(frames in which a part is visible, whether it is hidden at first), in the order of the drawing."""
    found = [element for element in drawing(made).iter() if element.get("data-frames") is not None]
    return [(element.get("data-frames"), element.get("style") == "display:none") for element in found]


# -- The drawing


def test_only_the_first_frame_is_visible():
    assert parts(make()) == [("0", False), ("1", True), ("2", True)]
    assert parts(make(start=2)) == [("0", True), ("1", True), ("2", False)]


def test_each_frame_holds_its_own_line_and_the_rest_is_always_visible():
    fig, groups = picture()
    for (line,), color in zip(groups, ("#aa0000", "#00bb00", "#0000cc"), strict=True):
        line.set_color(color)
    root = drawing(make(fig, groups))
    inside = [ElementTree.tostring(part, encoding="unicode") for part in root.iter() if part.get("data-frames")]
    for own, text in zip(("#aa0000", "#00bb00", "#0000cc"), inside, strict=True):
        assert {color for color in ("#aa0000", "#00bb00", "#0000cc", "#123456") if color in text} == {own}
    assert "#123456" in ElementTree.tostring(root, encoding="unicode")


def test_an_artist_may_stand_in_several_frames():
    fig, (first, second) = picture((1, 2))
    made = make(fig, [first, first + second, [second, second]])
    assert parts(made) == [("0 1", False), ("1 2", True)]


def test_every_kind_of_artist_can_be_a_frame():
    fig = Figure()
    ax = fig.add_subplot()
    x = np.linspace(0, 1, 8)
    groups = [
        [ax.annotate("here", (0.2, 0.2), (0.5, 0.5), arrowprops={"arrowstyle": "->"})],
        ax.bar([0, 1], [1, 2]),
        [ax.contour(x, x, np.outer(x, x)), ax.text(0.1, 0.1, "text")],
        [ax.imshow(np.eye(3))],
        [ax.imshow(np.ones((3, 3)))],
        [ax.scatter(x, x, rasterized=True)],
        [ax.errorbar(x, x, x), ax.axvline(0.5)],
        [fig.add_axes((0.7, 0.7, 0.2, 0.2))],
    ]
    made = make(fig, groups, values=[str(frame) for frame in range(8)])
    found = parts(made)
    assert {int(frame) for frame, _ in found} == set(range(8))
    assert all(hidden == (frame != "0") for frame, hidden in found)
    for element in drawing(made).iter():
        if element.get("data-frames") in ("3", "4", "5"):
            assert len(list(element.iter("image"))) == 1


def test_rasterized_artists_stay_in_their_own_frames():
    fig = Figure()
    ax = fig.add_subplot()
    ax.pcolormesh(np.eye(4), rasterized=True, zorder=1.9)
    lines = [ax.plot([0, 4], [0, slope], rasterized=slope == 2) for slope in (1, 2, 3)]
    made = make(fig, lines)
    assert parts(made) == [("0", False), ("1", True), ("2", True)]
    inside = [part for part in drawing(made).iter() if part.get("data-frames")]
    assert [len(list(part.iter("path"))) for part in inside] == [1, 0, 1]
    assert [len(list(part.iter("image"))) for part in inside] == [0, 1, 0]


def test_the_drawing_is_an_image_with_words_and_ids_of_its_own():
    fig, groups = picture()
    groups[0][0].axes.set(xlabel="weight")
    root = drawing(make(fig, groups))
    assert (root.get("role"), root.get("aria-label")) == ("img", "A line that gets steeper.")
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert ids and len(ids) == len(set(ids)) and all(name.startswith("slopes-") for name in ids)
    references = set()
    for element in root.iter():
        assert element.tag != "style"  # inside a page it would reach every other drawing
        for key, value in element.attrib.items():
            references.update(re.findall(r"url\(#([^)]+)\)", value))
            references.update([value[1:]] if key == "href" else [])
    assert references == set(ids)
    # No definition stands in a frame, where it would be hidden together with the frame.
    assert len(list(root.iter("defs"))) == 1 and root[0].tag == "defs"


def test_twice_the_same_figure_is_the_same_text():
    first, second = make(), make()
    assert first.html == second.html and first.png == second.png
    assert make(start=1).html != first.html and make(start=1).png != first.png


def test_the_layout_has_room_for_all_frames_and_stands_still():
    sizes = []
    for start in (0, 1):
        fig, groups = picture()
        fig.set_layout_engine("constrained")
        groups[1].append(fig.axes[0].text(-0.5, 0.5, "far to the left", transform=fig.axes[0].transAxes))
        make(fig, groups, start=start)
        sizes.append(fig.axes[0].get_position().bounds)
    assert sizes[0] == sizes[1] and sizes[0][0] > 0.2


def test_a_contour_plot_with_21_paths_is_light():
    fig = Figure()
    ax = fig.add_subplot()
    x = np.linspace(-2, 2, 80)
    ax.contour(x, x, x**2 + 10 * x[:, None] ** 2, levels=12)
    angles = np.linspace(0, 20, 60)
    groups = [ax.plot(np.cos(angles * k / 20), np.exp(-angles / 9) * np.sin(angles), "o-") for k in range(21)]
    made = make(fig, groups, values=[f"{k / 20:.2f}" for k in range(21)])
    assert len(made.html) < 400_000


# -- The page


def test_the_bundle_has_three_forms():
    bundle = make()._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    assert bundle["image/png"].startswith("iVBORw0KGgo")
    assert bundle["text/plain"] == "Figure with 3 frames: Slope from 1 to 3"


def test_the_controls_are_hidden_until_the_script_runs():
    page = Page(make(interval=120).html)
    (slider,) = page.tags["input"]
    assert [slider[key] for key in ("type", "min", "max", "value")] == ["range", "0", "2", "0"]
    assert json.loads(slider["data-values"]) == ["1", "2", "3"]
    assert (page.texts["label"], page.texts["output"], page.texts["button"]) == ("Slope", "1", "Play")
    assert page.tags["button"][0]["data-interval"] == "120"
    assert [tag.get("hidden", "shown") for tag in page.tags["div"]] == ["shown", "hidden"]
    assert page.tags["img"][0]["alt"] == "A line that gets steeper."
    assert page.open == []
    assert "button" not in Page(make().html).tags


def test_nothing_is_loaded_from_elsewhere():
    html = make(interval=100).html
    addresses = re.findall(r"(?:https?:)?//[\w.]+[^\s\"'<>]*", unquote(html))
    assert set(addresses) <= {"http://www.w3.org/2000/svg"}


def test_words_are_escaped():
    nasty = """<b>"it's" & </script> 100 % #1"""
    made = make(label=nasty, alt=nasty, values=[nasty, "β = 2", "3"])
    page = Page(made.html)
    assert "b" not in page.tags and len(page.tags["script"]) == 1
    assert page.texts["label"] == page.texts["output"] == page.tags["img"][0]["alt"] == nasty
    assert json.loads(page.tags["input"][0]["data-values"])[:2] == [nasty, "β = 2"]
    assert drawing(made).get("aria-label") == nasty


def test_the_script_reaches_only_its_own_element():
    script = Page(make(interval=100).html).texts["script"]
    # Its own element comes from the id; every other look-up begins at something inside that element.
    assert re.findall(r"""document\.querySelectorAll\(([^)]*)\)""", script) == ["""'[id="slopes-frames"]'"""]
    assert set(re.findall(r"\b(?:document|window|globalThis)\.(\w+)", script)) == {"querySelectorAll", "importNode"}
    assert set(re.findall(r"(\w+)\.querySelector", script)) == {"document", "root", "svg", "controls"}
    # One function called at once, and every name in it declared: nothing becomes global.
    body = script.strip()
    assert body.startswith("(() => {") and body.endswith("})();")
    assigned = set(re.findall(r"(?<![.\w])([a-z]\w*) = ", body))
    assert assigned <= set(re.findall(r"(?:const|let) (\w+)", body))
    other = make(name="others").html
    assert "slopes" not in other and SCRIPT.count("ROOT") == 1


def test_frames_displays_and_closes_the_figure(capsys):
    fig, ax = pyplot.subplots()
    lines = [ax.plot([0, 1], [0, slope]) for slope in (1, 2)]
    assert pyplot.fignum_exists(fig.number)
    shown = frames(fig, lines, name="a", label="Slope", values=["1", "2"], alt="Lines.")
    assert shown is None and capsys.readouterr().out == "Figure with 2 frames: Slope from 1 to 2\n"
    assert not pyplot.fignum_exists(fig.number)


# -- Errors

WRONG = {
    "too few frames": ({"groups": [[]], "values": ["1"]}, ValueError, "at least 2 frames, got 1"),
    "no frames": ({"groups": [], "values": []}, ValueError, "at least 2 frames, got 0"),
    "too few values": ({"values": ["1", "2"]}, ValueError, "expected 3 values, one for each frame, got 2"),
    "a value that is no text": ({"values": ["1", 2, "3"]}, ValueError, "values[1] to be a text in words, got 2"),
    "an empty label": ({"label": " "}, ValueError, "label to be a text in words, got ' '"),
    "no alt text": ({"alt": ""}, ValueError, "alt to be a text in words, got ''"),
    "a name with a blank": ({"name": "my figure"}, ValueError, "got 'my figure'; pass one like"),
    "an empty name": ({"name": ""}, ValueError, "got ''; pass one like"),
    "a start past the end": ({"start": 3}, ValueError, "start from 0 to 2, got 3"),
    "a negative start": ({"start": -1}, ValueError, "start from 0 to 2, got -1"),
    "a start that is no integer": ({"start": 1.0}, TypeError, "integer start, got 1.0; pass"),
    "an interval of zero": ({"interval": 0}, ValueError, "positive interval, got 0; pass milliseconds"),
    "an interval that is no integer": ({"interval": "fast"}, TypeError, "integer interval, got 'fast'; pass"),
    "no artist": ({"groups": [[], ["red"], []]}, TypeError, "got str in frame 1; pass what ax.plot"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_errors_say_what_they_got_and_what_to_do(wrong):
    options, kind, words = WRONG[wrong]
    fig, groups = picture()
    with pytest.raises(kind, match=re.escape(words)) as error:
        make(**{"fig": fig, "groups": groups} | options)
    assert str(error.value).startswith("frames: ")


def test_an_artist_of_another_figure_is_reported():
    (fig, groups), (_, others) = picture(), picture()
    with pytest.raises(ValueError, match=r"frames: the Line2D of frame 1 is not drawn; pass artists of this figure"):
        make(fig, [groups[0], others[1], groups[2]])


# -- Colours

CHARTS = {
    "sgd": ["GD", "SGD", "Momentum", "Nesterov"],
    "adam": ["SGD", "RMSProp", "Adagrad", "Adam", "AMSGrad"],
    "adamw": ["SGD", "Adam", "AdamW"],
    "lars": ["SGD", "Momentum", "LARS", "LAMB", "Adam", "AdamW"],
    "beyond_adam": ["SGD", "Momentum", "Adam", "AdamW", "Lion", "LAMB", "Muon"],
}


def linear(color):
    """Intensities of red, green and blue, after the definition of sRGB."""
    value = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("optimizer", OPTIMIZER_COLORS)
def test_colours_are_readable_on_white(optimizer):
    luminance = linear(OPTIMIZER_COLORS[optimizer]) @ [0.2126, 0.7152, 0.0722]
    assert 1.05 / (luminance + 0.05) >= 3


# How intensities look to an eye without its red (protanopia) or green (deuteranopia) cones: G. Machado, M. Oliveira
# and L. Fernandes, "A physiologically-based model for simulation of color vision deficiency", 2009.
EYES = {
    "usual": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
}


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("chart", CHARTS)
def test_colours_of_a_chart_differ(chart, eye):
    seen = {name: np.cbrt(np.clip(EYES[eye] @ linear(OPTIMIZER_COLORS[name]), 0, 1)) for name in CHARTS[chart]}
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 0.1, (one, other)


# -- The house


def test_the_module_needs_numpy_alone():
    blocked = "import sys; sys.modules.update(dict.fromkeys(['matplotlib', 'IPython'])); "
    code = blocked + "import odyssey.figures; print(len(odyssey.figures.OPTIMIZER_COLORS))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(OPTIMIZER_COLORS)


def test_nbval_leaves_out_the_drawing_and_nothing_else():
    rules = (ROOT / "tools/nbval_sanitize.cfg").read_text(encoding="utf-8")
    ((pattern, replacement),) = re.findall(r"^regex: (.*)$\n^replace: (.*)$", rules, flags=re.MULTILINE)
    assert re.sub(pattern, replacement, make().html) == replacement
    table = '<div class="table">1</div>'
    assert re.sub(pattern, replacement, table) == table
    assert re.sub(pattern, replacement, make().text) == make().text


@pytest.mark.parametrize("shown", [False, True])
def test_glue_stores_what_the_builder_of_the_book_reads(shown, monkeypatch):
    pytest.importorskip("myst_nb")
    from myst_nb.ext.glue import extract_glue_data_cell
    from myst_nb.ext.glue import glue as theirs
    from nbformat import from_dict

    def stored(function):
        outputs = []

        def catch(data, raw, metadata):
            assert raw
            outputs.append({"data": data, "metadata": metadata})

        monkeypatch.setattr("IPython.display.display", catch)
        monkeypatch.setattr("myst_nb.ext.glue.ipy_display", catch)
        function("name", "1.23", display=shown)
        return [{"output_type": "display_data", **output} for output in outputs]

    assert stored(glue) == stored(theirs)
    ((key, found),) = extract_glue_data_cell(from_dict({"outputs": stored(glue)}))
    assert key == "name" and found["data"]["text/plain"] == "'1.23'"


def test_glue_takes_text_only():
    with pytest.raises(TypeError, match=r"glue: expected a str for 'a-loss', got float; format it"):
        glue("a-loss", 1.23)

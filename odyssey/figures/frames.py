"""What the figures of the book share: one colour for each optimizer, and figures with a slider.

`frames` turns one Matplotlib figure into a picture that a reader moves: a slider, and a Play button where time is
shown. The result needs no kernel and loads nothing, so the same cell works on a page of the book, in JupyterLab and
in JupyterLite. Matplotlib and IPython are imported only when a figure is drawn; the package itself needs NumPy alone.
"""

from __future__ import annotations

import base64
import io
import json
import operator
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

# After Okabe and Ito, as in book/odyssey.mplstyle, with a grey, a brown, a dark orange and a wine red beside them.
# Every colour has a contrast of 3:1 or more with white paper. Two optimizers share a colour only where no chart
# of the book compares them; in each chart's set the colours also differ for readers who confuse red and green.
OPTIMIZER_COLORS: dict[str, str] = {
    "GD": "#5F5F5F",
    "SGD": "#000000",
    "Momentum": "#CC79A7",
    "Nesterov": "#D55E00",
    "Adagrad": "#A66F00",
    "RMSProp": "#009E73",
    "Adam": "#0072B2",
    "AMSGrad": "#882255",
    "AdamW": "#D55E00",
    "LARS": "#882255",
    "LAMB": "#6B3A00",
    "Lion": "#009E73",
    "Muon": "#882255",
}

SVG = "http://www.w3.org/2000/svg"

# Only class selectors, so that a second figure on the page repeats these rules without harm. The text has the page's
# own colour and is as readable in the dark as the prose around it.
STYLE = """
.odyssey-frames { padding: 2px; }
.odyssey-frames > .odyssey-frames-picture { display: block; width: 100%; height: auto; margin-inline: auto;
  background: #fff; box-sizing: border-box; }
.odyssey-frames-controls:not([hidden]) { display: flex; align-items: end; gap: 0.75rem; max-width: 34rem;
  margin: 0.5rem auto 0; color: inherit; font-size: 0.95rem; line-height: 1.4; text-align: start; }
.odyssey-frames-controls label { flex: 1 1 0; min-width: 0; margin: 0; }
.odyssey-frames-controls input { display: block; width: 100%; height: 44px; margin: 0; cursor: pointer;
  accent-color: var(--pst-color-primary, #0072B2); }
.odyssey-frames-controls output { line-height: 44px; font-variant-numeric: tabular-nums; white-space: nowrap; }
.odyssey-frames-controls button { flex: none; min-width: 4.5rem; min-height: 44px; padding: 0 0.75rem; font: inherit;
  color: inherit; background: transparent; border: 1px solid currentColor; border-radius: 6px; cursor: pointer; }
@media print { .odyssey-frames-controls { display: none !important; } }
"""

# Looks for its figure by the id, because document.currentScript is null in some notebooks, and takes every element
# of that id, because JupyterLab may show one output twice. The slider's words reach a screen reader through
# aria-valuetext; an output that spoke as well would say everything twice, and talk without end during an animation.
SCRIPT = """
(() => {
  for (const root of document.querySelectorAll('[id="ROOT"]')) {
    if (root.dataset.ready) continue;
    root.dataset.ready = "true";
    const image = root.querySelector("img");
    const source = image.getAttribute("src");
    const text = decodeURIComponent(source.slice(source.indexOf(",") + 1));
    const drawing = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
    const svg = document.importNode(drawing, true);
    svg.setAttribute("class", image.className);
    svg.style.maxWidth = image.style.maxWidth;
    image.replaceWith(svg);
    const parts = Array.from(svg.querySelectorAll("[data-frames]"));
    const controls = root.querySelector(".odyssey-frames-controls");
    const slider = controls.querySelector("input");
    const output = controls.querySelector("output");
    const button = controls.querySelector("button");
    const values = JSON.parse(slider.dataset.values);
    let timer = 0;
    const show = () => {
      for (const part of parts) {
        const shown = part.dataset.frames.split(" ").includes(slider.value);
        part.style.display = shown ? "" : "none";
      }
      output.value = values[slider.valueAsNumber];
      slider.setAttribute("aria-valuetext", output.value);
    };
    const stop = () => {
      clearInterval(timer);
      timer = 0;
      if (button) button.textContent = "Play";
    };
    const step = () => {
      if (!root.isConnected || slider.value === slider.max) return stop();
      slider.stepUp();
      show();
    };
    slider.addEventListener("input", () => { stop(); show(); });
    if (button) button.addEventListener("click", () => {
      if (timer) return stop();
      if (slider.value === slider.max) { slider.value = 0; show(); }
      timer = setInterval(step, Number(button.dataset.interval));
      button.textContent = "Pause";
    });
    show();
    controls.hidden = false;
  }
})();
"""


@dataclass(frozen=True)
class FrameFigure:
    """A figure with a slider in three forms, of which a notebook, a page or a printer takes the one that it can show.

    `html` has all frames and the controls, `png` the frame shown first, and `text` is one line about both.
    """

    html: str
    png: bytes
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        png = base64.b64encode(self.png).decode("ascii")
        return {"text/html": self.html, "image/png": png, "text/plain": self.text}


def frames(
    fig: Figure,
    groups: Sequence[Iterable[Artist]],
    *,
    name: str,
    label: str,
    values: Sequence[str],
    alt: str,
    start: int = 0,
    interval: int | None = None,
) -> None:
    """Display a figure of which a slider shows one frame at a time, and close it.

    The figure holds the artists of all frames together. What stands in no group, axes and labels, is always visible.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
        The figure, complete. It is closed, so that a notebook does not show it again.
    groups : sequence of K iterables of artists
        For each frame the artists that are visible in it, at least two frames. An artist may stand in several
        frames, and what ``ax.plot`` or ``ax.bar`` returns may stand for the artists in it.
    name : str
        Lower-case letters, digits and hyphens, another one for each figure of a page.
    label : str
        What the slider changes, shown beside it.
    values : sequence of K str
        What the slider says for each frame.
    alt : str
        The picture in words, for readers who do not see it.
    start : int, optional
        The frame shown first, and the only one on paper and without JavaScript.
    interval : int, optional
        Milliseconds from one frame to the next. With it the figure gets a Play button; it never starts by itself.

    Raises
    ------
    TypeError
        If an element of a group is no artist, or `start` or `interval` no integer.
    ValueError
        If there are fewer than two frames, `values` has another length, a text is empty, `name` has other
        characters, `start` is no frame, `interval` is not positive, or an artist is not drawn in the figure.

    Notes
    -----
    All frames travel with the page: 20 lines of 60 points take some 20 kB, a filled contour plot of 30 levels 100 kB or
    more. Fewer levels help, or ``rasterized=True`` for what all frames share.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> fig = Figure()
    >>> ax = fig.add_subplot()
    >>> lines = [ax.plot([0, 1], [0, slope]) for slope in (1, 2, 3)]
    >>> frames(fig, lines, name="slopes", label="Slope", values=["1", "2", "3"], alt="A line that gets steeper.")
    Figure with 3 frames: Slope from 1 to 3
    """
    from IPython import display

    show: Any = display.display  # IPython tells no types
    show(frame_figure(fig, groups, name=name, label=label, values=values, alt=alt, start=start, interval=interval))


def frame_figure(
    fig: Figure,
    groups: Sequence[Iterable[Artist]],
    *,
    name: str,
    label: str,
    values: Sequence[str],
    alt: str,
    start: int = 0,
    interval: int | None = None,
) -> FrameFigure:
    """Make what `frames` displays, and close the figure; arguments and errors are those of `frames`."""
    from matplotlib import pyplot, rc_context

    groups = [list(group) for group in groups]
    count = len(groups)
    _check(count, name, label, values, alt)
    start = _checked_integer("start", start, "the number of a frame")
    if not 0 <= start < count:
        raise ValueError(f"frames: expected start from 0 to {count - 1}, got {start}; pass the number of a frame")
    if interval is not None:
        interval = _checked_integer("interval", interval, "milliseconds, such as 200,")
        if interval < 1:
            raise ValueError(f"frames: expected a positive interval, got {interval}; pass milliseconds such as 200")
    shown = _frames_of_artists(groups)

    # The layout makes room for all frames, and then stands still, so that the frames do not jump.
    fig.draw_without_rendering()
    fig.set_layout_engine("none")
    # Neighbouring images would be merged into one, which no slider could take apart.
    with rc_context({"svg.fonttype": "path", "image.composite_image": False}):
        for artist, numbers in shown:
            artist.set_visible(start in numbers)
        picture = io.BytesIO()
        fig.savefig(picture, format="png")
        for number, (artist, _) in enumerate(shown):
            artist.set_visible(True)
            _draw_in_group(artist, f"odyssey-part-{number}")
        drawing = io.BytesIO()
        fig.savefig(drawing, format="svg", metadata={"Date": None})
    width = round(fig.get_figwidth() * fig.dpi)
    pyplot.close(fig)

    svg = _tidy(drawing.getvalue(), shown, name=name, alt=alt, start=start)
    html = _page(svg, width, name=name, label=label, values=values, alt=alt, start=start, interval=interval)
    text = f"Figure with {count} frames: {label} from {values[0]} to {values[-1]}"
    return FrameFigure(html, picture.getvalue(), text)


def _check(count: int, name: str, label: str, values: Sequence[str], alt: str) -> None:
    if count < 2:
        raise ValueError(f"frames: expected at least 2 frames, got {count}; pass one list of artists for each frame")
    if len(values) != count:
        raise ValueError(f"frames: expected {count} values, one for each frame, got {len(values)}")
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise ValueError(
            f"frames: expected a name of lower-case letters, digits and hyphens, got {name!r}; pass one like 'sgd-beta'"
        )
    texts = {"label": label, "alt": alt} | {f"values[{frame}]": value for frame, value in enumerate(values)}
    for argument, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"frames: expected {argument} to be a text in words, got {text!r}; pass a string")


def _checked_integer(argument: str, value: int, remedy: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"frames: expected an integer {argument}, got {value!r}; pass {remedy} as an int") from None


def _artists(item: Any, frame: int) -> Iterator[Any]:
    """The artists in what a plotting function returned: one, a list, or a container with gaps."""
    if isinstance(item, (list, tuple)):
        for element in item:
            yield from _artists(element, frame)
    elif hasattr(item, "draw") and hasattr(item, "set_visible"):
        yield item
    elif item is not None:
        raise TypeError(
            f"frames: expected Matplotlib artists, got {type(item).__name__} in frame {frame}; "
            "pass what ax.plot and the like return"
        )


def _frames_of_artists(groups: Sequence[Iterable[Artist]]) -> list[tuple[Any, list[int]]]:
    """Every artist once, with the frames in which it is visible."""
    found: dict[int, tuple[Any, list[int]]] = {}
    for frame, group in enumerate(groups):
        for artist in _artists(list(group), frame):
            numbers = found.setdefault(id(artist), (artist, []))[1]
            if frame not in numbers:
                numbers.append(frame)
    return list(found.values())


def _draw_in_group(artist: Any, group: str) -> None:
    """Let an artist be drawn inside an SVG group of its own; `set_gid` would do so for most kinds, but not for all."""
    from matplotlib import artist as kinds

    draw, vector = artist.draw, kinds.Artist()
    # Matplotlib ends a rasterized passage late, when the next artist that is not rasterized is drawn. This one ends
    # it at once, so that neither the group's beginning nor its end is lost in the passage.
    decorate: Any = kinds.allow_rasterization
    end_rasterizing = decorate(lambda artist, renderer: None)

    def draw_in_group(renderer: Any, *arguments: Any, **options: Any) -> None:
        end_rasterizing(vector, renderer)
        renderer.open_group("frame", gid=group)
        draw(renderer, *arguments, **options)
        end_rasterizing(vector, renderer)
        renderer.close_group("frame")

    artist.draw = draw_in_group


def _tidy(drawing: bytes, shown: Sequence[tuple[Any, list[int]]], *, name: str, alt: str, start: int) -> str:
    """Matplotlib's SVG as one line that marks the frames, has ids of its own, and rounds to a hundredth of a point."""
    root = ElementTree.fromstring(drawing)
    for element in root.iter():
        element.tag = element.tag.split("}")[-1]
        for key in list(element.attrib):
            element.set(key.split("}")[-1], element.attrib.pop(key))
        element.text = element.tail = None

    groups = {element.get("id"): element for element in root.iter("g")}
    for number, (artist, numbers) in enumerate(shown):
        part = groups.get(f"odyssey-part-{number}")
        if part is None:
            raise ValueError(
                f"frames: the {type(artist).__name__} of frame {numbers[0]} is not drawn; "
                "pass artists of this figure, and rasterize the artists themselves rather than their axes"
            )
        part.set("data-frames", " ".join(map(str, numbers)))
        if start not in numbers:
            part.set("style", "display:none")

    # What frames share, such as the shapes of letters, is defined in whichever frame first uses it. A definition in a
    # hidden group may be lost, so all stand at the beginning.
    definitions = ElementTree.Element("defs")
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == "defs":
                definitions.extend(part for part in child if part.tag != "style")
            if child.tag in ("defs", "metadata"):
                parent.remove(child)
    root.insert(0, definitions)

    used: dict[str, str] = {}
    for element in root.iter():
        for value in element.attrib.values():
            for old in re.findall(r"url\(#([^)]+)\)", value):
                used.setdefault(old, f"{name}-{len(used)}")
        if (old := element.get("href", "")).startswith("#"):
            used.setdefault(old[1:], f"{name}-{len(used)}")
    for element in root.iter():
        for key, value in element.attrib.items():
            value = re.sub(r"url\(#([^)]+)\)", lambda match: f"url(#{used[match[1]]})", value)
            if key == "d":
                value = re.sub(r"\s*([A-Za-z]|$)\s*", r"\1", _rounded(value))
            elif key in ("x", "y"):
                value = _rounded(value)
            elif key == "href" and value.startswith("#"):
                value = "#" + used[value[1:]]
            element.set(key, value)
        if "id" in element.attrib:
            old = element.attrib.pop("id")
            if old in used:
                element.set("id", used[old])

    # Matplotlib sets these two in a <style> for everything, which inside a page would reach every other drawing.
    root.set("style", "stroke-linejoin:round;stroke-linecap:butt")
    root.attrib.update({"xmlns": SVG, "role": "img", "aria-label": alt})
    return ElementTree.tostring(root, encoding="unicode")


def _rounded(text: str) -> str:
    number = r"-?\d+\.\d+(?:e[-+]?\d+)?"
    return re.sub(number, lambda match: f"{round(float(match[0]), 2) + 0.0:.10g}", text)


def _page(
    svg: str, width: int, *, name: str, label: str, values: Sequence[str], alt: str, start: int, interval: int | None
) -> str:
    # The drawing travels as the address of an <img>. Without JavaScript, and in a notebook that is not trusted yet,
    # where scripts and inline drawings are removed, it remains a picture; the script puts the drawing in its place.
    # (JupyterLab would remove a plain `hidden` as well, and show controls that do nothing.)
    source = "data:image/svg+xml," + quote(svg, safe=" /:;=,()*.!~@$?+-")
    root, widest = f"{name}-frames", max(map(len, values))
    play = f'<button type="button" data-interval="{interval}">Play</button>' if interval is not None else ""
    return (
        f'<div class="odyssey-frames" id="{root}"><style>{STYLE}</style>'
        f'<img class="odyssey-frames-picture" style="max-width:{width}px" alt="{escape(alt)}" src="{source}">'
        f'<div class="odyssey-frames-controls" hidden="hidden">{play}'
        f'<label>{escape(label)}<input type="range" min="0" max="{len(values) - 1}" step="1" value="{start}"'
        f' autocomplete="off" data-values="{escape(json.dumps(list(values), ensure_ascii=False))}"></label>'
        f'<output aria-live="off" style="min-width:{widest}ch">{escape(values[start])}</output></div>'
        f"<script>{SCRIPT.replace('ROOT', root)}</script></div>"
    )

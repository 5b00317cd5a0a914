"""Draws the EPUB's cover: the title above the book's picture, in the proportions of a page."""

from __future__ import annotations

from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.image import imread


def draw(picture: Path, title: str, subtitle: str, author: str, target: Path) -> None:
    """Write a PNG of 1600 × 2400 dots."""
    with rc_context({"font.family": "serif", "font.serif": ["STIXGeneral"]}):
        fig = Figure(figsize=(8, 12), dpi=200, facecolor="white")
        fig.text(0.5, 0.78, title, ha="center", fontsize=68, weight="bold", color="#222222")
        fig.text(0.5, 0.72, subtitle, ha="center", fontsize=24, style="italic", color="#555555")
        ax = fig.add_axes((0.07, 0.36, 0.86, 0.26))
        ax.imshow(imread(picture), interpolation="lanczos")
        ax.set_axis_off()
        fig.text(0.5, 0.12, author, ha="center", fontsize=22, color="#222222")
        fig.savefig(target, metadata={"Software": None})

"""Numbers that the prose quotes."""

from __future__ import annotations

PREFIX = "application/papermill.record/"


def glue(name: str, text: str, *, display: bool = False) -> None:
    """Store `text` in the cell's output under `name`, so that the prose can quote it with the role ``glue:text``.

    The book's builder, MyST-NB, has a function of this name that stores the same. This one needs no Sphinx, so that a
    chapter runs in a browser, in Colab, and wherever only the package is installed.

    Parameters
    ----------
    name : str
        Unique in the book; begins with the chapter's name.
    text : str
        What the prose shall show, formatted.
    display : bool
        Also show it under the cell.

    Raises
    ------
    TypeError
        If `text` is not a str: how many digits a number gets is a decision to be made here.
    """
    if not isinstance(text, str):
        raise TypeError(f'glue: expected a str for {name!r}, got {type(text).__name__}; format it, f"{{x:.3g}}"')
    from IPython.display import display as show

    prefix = "" if display else PREFIX
    metadata = {"scrapbook": {"mime_prefix": prefix, "name": name}}
    show(  # type: ignore[no-untyped-call]
        {f"{prefix}text/plain": repr(text)}, raw=True, metadata=metadata
    )

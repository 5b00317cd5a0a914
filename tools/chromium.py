"""Chromium on this machine, which sets the formulas of the EPUB and looks at the built site."""

from __future__ import annotations

import os
import shutil

# Debian's name, Ubuntu's, and Google's; the variable CHROMIUM names another.
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-first-run"]  # fmt: skip


def program() -> str | None:
    """The program of Chromium, if there is one."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)

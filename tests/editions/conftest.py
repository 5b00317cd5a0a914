"""What the tests of the editions share. `make check-editions` runs them; `make test` leaves them out."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EDITIONS = Path(os.environ.get("ODYSSEY_EDITIONS", ROOT / "_build" / "editions"))


def edition(kind: str) -> Path:
    """The file of an edition; a test that needs it fails where it was not built."""
    path = EDITIONS / f"ml-odyssey.{kind}"
    if not path.is_file():
        pytest.fail(f"there is no {path}; run `make editions` first")
    return path

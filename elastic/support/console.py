"""Output of commands: names of files and devices are shown as they are, whatever brackets they have."""

from __future__ import annotations

from rich import get_console
from rich.console import RenderableType


def show(what: RenderableType, style: str | None = None) -> None:
    """Print a sentence, which isn't broken into lines, or a table.

    Args:
        what: nothing in it is taken for markup.
        style: of the text, such as `red`.
    """
    is_text = isinstance(what, str)
    get_console().print(what, style=style, markup=False, highlight=False if is_text else None, soft_wrap=is_text)

"""Text made of Jinja templates: pages in HTML, where values are escaped, and cards in Markdown, where they aren't."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape


def render(template: str, **values: Any) -> str:
    """Fill a template.

    Args:
        template: its place, from the folder that holds the package: `elastic/shipping/card.md.jinja`.
        values: by the names that the template has for them. In HTML they are escaped, but for what is markup already.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(_read),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _read(template: str) -> str:
    package, _, path = template.partition("/")
    return files(package).joinpath(path).read_text("utf-8")

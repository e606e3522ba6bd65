"""Templates: values are escaped in HTML, and left as they are in Markdown; a value that is missing is an error."""

import pytest
from jinja2 import UndefinedError

from elastic.support.templates import render

PAGE = {"title": "<a> & b", "notes": "", "plotly": "", "summary": {"<n>": "<t>"}, "steps": [("<do>", "x && y")]}


def test_texts_are_escaped_in_html():
    page = render("elastic/reporting/page.html.jinja", **PAGE)
    shown = ("<h1>&lt;a&gt; &amp; b</h1>", "<span>&lt;n&gt;</span><b>&lt;t&gt;</b>", "<code>x &amp;&amp; y</code>")
    for escaped in shown:
        assert escaped in page


def test_a_missing_value_is_an_error():
    with pytest.raises(UndefinedError, match="'notes' is undefined"):
        render("elastic/reporting/page.html.jinja", **{name: value for name, value in PAGE.items() if name != "notes"})

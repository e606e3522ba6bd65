"""Names that look like markup are printed as they are."""

import pytest
from rich.table import Table

from elastic.support.console import show


@pytest.mark.parametrize("name", ["x[old].json", "y[/red].json", "[bold]z", "a[b]c", "\\[x]"])
def test_brackets_stay_brackets(name, capsys):
    show(f"search: {name}")
    table = Table("file", title=None)
    table.add_row(name)
    show(table)
    said = capsys.readouterr().out
    assert said.startswith(f"search: {name}\n")
    assert said.count(name) == 2


def test_a_sentence_isnt_broken(capsys):
    show("word " * 100)
    assert capsys.readouterr().out.count("\n") == 1

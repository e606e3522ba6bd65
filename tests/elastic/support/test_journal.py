"""What is kept line by line goes on after it was cut short, and belongs to one header."""

import json

import pytest

from elastic.errors import CheckpointError
from elastic.support.journal import Journal

HEADER = {"kind": "soups", "cook": 1, "sizes": (1, 2)}


def opened(path, **changes):
    return Journal(path, {**HEADER, **changes}, CheckpointError, "a list of soups", "cook another")


def test_entries_come_back_in_their_order(tmp_path):
    path = tmp_path / "new" / "soups.jsonl"
    first = opened(path)
    for entry in ({"soup": 1}, {"soup": 2}):
        first.add(entry)
    assert opened(path).entries == first.entries == [{"soup": 1}, {"soup": 2}]
    assert [json.loads(line) for line in path.read_text().splitlines()][1:] == first.entries


def test_without_a_file_entries_are_kept_in_memory():
    journal = opened(None)
    journal.add({"soup": 1})
    assert journal.entries == [{"soup": 1}]


def test_cut_short_at_any_byte_it_goes_on(tmp_path):
    path = tmp_path / "soups.jsonl"
    opened(path).add({"soup": 1})
    whole = path.read_bytes()
    for kept in range(len(whole) + 1):
        path.write_bytes(whole[:kept])
        journal = opened(path)
        assert journal.entries == ([{"soup": 1}] if kept == len(whole) else [])
        if kept < len(whole):
            journal.add({"soup": 1})
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("notes of mine", "isn't a list of soups: it has no whole line; move it away"),
        ("notes\n", "isn't a list of soups: line 1 isn't JSON"),
        ("[1]\n", "line 1 is a list, no JSON object"),
        ('{"kind": "salads"}\n', "its kind is 'salads'"),
        ('{"kind": "salads"}\n{"salad": ', "its kind is 'salads'"),
        ('{"kind": "soups", "cook": 2, "sizes": [1, 2]}\n', "holds a list of soups with another cook: 2, now 1; cook"),
        ('{"kind": "soups", "cook": 1, "sizes": [1, 2]}\nsalt\n{}\n', "line 2 isn't JSON"),
    ],
)
def test_something_else_is_refused_and_left_alone(tmp_path, text, message):
    path = tmp_path / "soups.jsonl"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=message):
        opened(path)
    assert path.read_text() == text

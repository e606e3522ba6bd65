"""JSON and YAML of anybody's: read within limits, or refused in a sentence."""

import pytest

from elastic.errors import CheckpointError
from elastic.support.reading import MOST_BYTES, UnreadableError, parse_json, parse_yaml, read_json, read_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
BROKEN_JSON = {
    "nested": "[" * 100_000,
    "nested and whole": "[" * 101 + "]" * 101,
    "a number of many digits": "1" * 5000,
    "truncated": '{"a": [1, 2',
    "empty": "",
    "a control character": '{"a": "\x01"}',
}
BROKEN_YAML = {
    "aliases without end": BOMB,
    "a value that contains itself": "a: &a [*a]",
    "a mapping that contains itself": "&a b: &c {d: *c}",
    "nested": "[" * 100_000,
    "nested blocks": "- " * 20_000 + "x",
    "nested keys": "? " * 1000 + "x",
    "a date that isn't": "a: 2001-99-99",
    "a number of many digits": "a: " + "1" * 5000,
    "a class": "a: !!python/object/apply:os.system [touch called]",
    "truncated": "a: [1, 2",
    "a control character": "a: \x01",
    "a list as a key": "? [1]\n: 2",
    "binary that isn't": "a: !!binary ü",
}


@pytest.mark.parametrize("kind", BROKEN_JSON)
def test_json_beyond_the_limits_is_refused(kind, tmp_path):
    with pytest.raises(UnreadableError):
        parse_json(BROKEN_JSON[kind])
    (tmp_path / "a.json").write_text(BROKEN_JSON[kind])
    with pytest.raises(CheckpointError, match=r"a\.json isn't a description: "):
        read_json(tmp_path / "a.json", CheckpointError, "a description")


@pytest.mark.parametrize("kind", BROKEN_YAML)
def test_yaml_beyond_the_limits_is_refused(kind, tmp_path):
    with pytest.raises(UnreadableError):
        parse_yaml(BROKEN_YAML[kind])
    (tmp_path / "a.yaml").write_text(BROKEN_YAML[kind])
    with pytest.raises(CheckpointError, match=r"a\.yaml isn't a table: "):
        read_yaml(tmp_path / "a.yaml", CheckpointError, "a table")


@pytest.mark.parametrize("read", [read_json, read_yaml])
@pytest.mark.parametrize("content", ['{"a": "ü"}'.encode(encoding) for encoding in ("latin-1", "utf-16")])
def test_a_foreign_encoding_is_refused(read, content, tmp_path):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(CheckpointError, match="isn't a table: "):
        read(tmp_path / "a", CheckpointError, "a table")


@pytest.mark.parametrize("kind", MOST_BYTES)
def test_a_file_without_end_is_refused(kind, monkeypatch):
    monkeypatch.setitem(MOST_BYTES, kind, 1 << 20)
    read = {"JSON": read_json, "YAML": read_yaml}[kind]
    with pytest.raises(CheckpointError, match="/dev/zero isn't a table: it is larger than 1 MiB"):
        read("/dev/zero", CheckpointError, "a table")


def test_what_is_within_the_limits_is_read():
    deep = "[" * 99 + "]" * 99
    assert str(parse_json(deep)) == str(parse_yaml(deep)) == deep
    assert parse_yaml("a: &x {b: 1}\nc: *x\nd: {<<: *x}") == {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1}}
    assert parse_json('{"a": -1.5e3, "b": 12345678901234567890}') == {"a": -1500.0, "b": 12345678901234567890}

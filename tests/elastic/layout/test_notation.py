import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic.errors import LayoutError
from elastic.layout.notation import ANY, fill, match_paths, parse_axes


def test_axes_read_like_einops():
    parsed = parse_axes("(3 heads.1 64) embed _ 7", "entry")
    assert parsed.axes == ((3, "heads.1", 64), ("embed",), (ANY,), (7,))
    assert not parsed.open_ended
    assert parse_axes("embed ...", "entry") == parse_axes("  embed   ...  ", "other entry")


@given(st.lists(st.sampled_from(["embed", "768", "_", "(3 heads 64)", "(groups 8)", "a.b.c"]), min_size=1, max_size=5))
def test_every_axis_is_read(words):
    assert len(parse_axes(" ".join(words), "entry").axes) == len(words)


@pytest.mark.parametrize("text", ["", "(", "a)", "()", "a ... b", "3x", "-1", "0", "a (b", "(a (b))", "a,b", "{i}"])
def test_what_is_not_in_the_notation_is_refused_by_entry(text):
    with pytest.raises(LayoutError, match=r"layout entry 'blocks\.qkv'"):
        parse_axes(text, "blocks.qkv")


def test_placeholders_match_one_path_component_and_fill_names():
    paths = ["blocks.0.attn", "blocks.11.attn", "blocks.0.attn.qkv", "blocks.attn"]
    assert match_paths("blocks.{i}.attn", paths) == [("blocks.0.attn", {"i": "0"}), ("blocks.11.attn", {"i": "11"})]
    assert fill("heads.{i}", {"i": "11"}, "entry") == "heads.11"
    assert fill("width.{s-1}", {"s": "2"}, "entry") == "width.1"
    assert match_paths("{a}.{a}", ["x.x", "x.y"]) == [("x.x", {"a": "x"})]


def test_a_placeholder_of_nowhere_is_refused():
    with pytest.raises(LayoutError, match=r"uses \{j\}.*it has \['i'\]"):
        fill("heads.{j}", {"i": "0"}, "entry")
    with pytest.raises(LayoutError, match="needs a number"):
        fill("width.{s-1}", {"s": "last"}, "entry")

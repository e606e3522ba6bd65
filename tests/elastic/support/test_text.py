"""Text for people."""

import pytest

from elastic.support.text import nearest, spell_names


@pytest.mark.parametrize(
    ("names", "spelt"),
    [
        (["head"], "head"),
        (["depth.1", "depth.4"], "depth.1, depth.4"),
        ([f"mid.{k}" for k in range(5)], "mid.0 … mid.4 (5)"),
        (["a.0", *(f"a.{k}" for k in range(4, 10)), "b"], "a.0, a.4 … a.9, b (8)"),
        ([f"a.{k}.x" for k in (0, 1, 2, 8, 9)], "a.0.x … a.2.x, a.8.x, a.9.x (5)"),
        ([f"a.{k}" for k in range(0, 20, 2)], "a.0, a.2, a.4 and others (10)"),
    ],
)
def test_only_an_unbroken_run_of_names_is_left_out(names, spelt):
    assert spell_names(names) == spelt


def test_of_names_that_are_equally_near_the_first_is_meant():
    assert nearest("depth.0", [f"depth.{number}" for number in range(1, 9)]) == ["depth.1", "depth.2", "depth.3"]

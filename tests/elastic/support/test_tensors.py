"""Nested inputs, flat and back."""

import pytest

from elastic.support.tensors import flat, nested

NESTED = {"a": 1, "b": [2, (3,), {"c": [4], "d": 5}], "e": ([6], [7])}


def test_flat_and_back():
    leaves = flat(NESTED)
    assert leaves == {"a": 1, "b[0]": 2, "b[1](0)": 3, "b[2].c[0]": 4, "b[2].d": 5, "e(0)[0]": 6, "e(1)[0]": 7}
    assert nested(leaves) == NESTED
    assert flat({"a": 1, "b": 2}) == nested({"a": 1, "b": 2}) == {"a": 1, "b": 2}


@pytest.mark.parametrize("names", [["a[x]"], ["a["], [""], ["a", "a[0]"], ["a[0]b"], [".a"]])
def test_names_of_other_forms_are_refused(names):
    with pytest.raises(ValueError, match="names no input"):
        nested(dict.fromkeys(names))

"""The search space against counting by hand: every row of a small space, one after the other."""

import itertools

import numpy as np
import pytest
from examples import few
from hypothesis import given
from hypothesis import strategies as st
from spaces import spaces

from elastic import Arch, SearchSpace
from elastic.errors import ArchError
from elastic.space.dims import Dim, Gate
from elastic.space.sizes import kept_indices


def every(space: SearchSpace) -> set[Arch]:
    return {
        space.arch(dict(zip([d.name for d in space.dims], values, strict=True)))
        for values in itertools.product(*(d.choices for d in space.dims))
    }


@given(spaces())
@few
def test_size_is_the_number_of_distinct_networks(space):
    networks = {Arch({k: v for k, v in arch.items() if k != "resolution"}) for arch in every(space)}
    assert space.size == len(networks)


@given(spaces(), st.integers(0, 2**31))
def test_encoding_round_trips(space, seed):
    archs = space.sample(seed, 20)
    assert all(arch in space for arch in archs)
    rows = space.encode(archs)
    assert rows.dtype == np.int16
    assert space.decode(rows) == archs
    assert (space.canonical(rows) == rows).all()
    assert archs == space.sample(seed, 20)
    assert space.sample(seed) == space.sample(seed, 1)[0]


@given(spaces(), st.integers(0, 2**31))
def test_equal_subnets_are_equal_rows(space, seed):
    counts = [len(dim.choices) for dim in space.dims]
    rows = np.random.default_rng(seed).integers(0, counts, (40, len(counts)))
    canonical = space.canonical(rows)
    archs = space.decode(rows)
    assert archs == space.decode(canonical)
    for one, other in itertools.combinations(range(40), 2):
        assert (archs[one] == archs[other]) == (canonical[one] == canonical[other]).all()


@given(spaces(), st.integers(0, 2**31), st.floats(0, 1))
def test_mutation_and_crossover_stay_inside_and_take_from_parents(space, seed, rate):
    one, other = space.sample(seed, 2)
    assert space.mutate(one, rate, seed) in space
    assert space.mutate(one, 0.0, seed) == one
    child = space.crossover(one, other, seed)
    assert child in space
    for dim, value in child.items():
        assert value in {one.get(dim), other.get(dim)} or dim not in {*one, *other}
    assert space.crossover(one, one, seed) == one


def small() -> SearchSpace:
    gates = [frozenset({(Gate("depth", i, 3),)}) for i in range(3)]
    return SearchSpace((Dim("depth", (1, 2, 3)), *(Dim(f"mid.{i}", (8, 16), gates[i]) for i in range(3))))


def test_what_a_larger_depth_brings_is_drawn_from_all_choices():
    space = SearchSpace((Dim("depth", (1, 2)), Dim("mid", (4, 6, 8), frozenset({(Gate("depth", 1, 2),)}))))
    shallow = np.repeat(space.encode([space.smallest]), 600, axis=0)
    mids = [arch["mid"] for arch in space.decode(space.mutate_rows(shallow, 0.5, 0)) if "mid" in arch]
    assert all(0.2 < mids.count(mid) / len(mids) < 0.5 for mid in (4, 6, 8))
    deep = np.repeat(space.encode([space.largest]), 600, axis=0)
    for parents in ((shallow, deep), (deep, shallow)):
        assert {arch.get("mid") for arch in space.decode(space.crossover_rows(*parents, 0))} == {None, 8}


def test_values_become_the_choices_they_equal():
    space = small()
    archs = [space.arch({name: kind(value) for name, value in space.largest.items()}) for kind in (float, np.int64)]
    assert archs == [space.largest] * 2
    assert {arch.id for arch in archs} == {space.largest.id}
    assert {type(value) for arch in archs for value in arch.values()} == {int}


def test_depths_leave_dims_out():
    space = small()
    assert space.size == 2 + 4 + 8
    assert space.smallest == {"depth": 1, "mid.0": 8}
    assert space.largest == {"depth": 3, "mid.0": 16, "mid.1": 16, "mid.2": 16}
    assert space.arch({"depth": 1, "mid.0": 8, "mid.2": 16}) == space.smallest
    assert space.variant({"depth": 2, "mid.*": 8}) == {"depth": 2, "mid.0": 8, "mid.1": 8}
    assert space.variant({"mid": 8}, of=space.smallest) == space.smallest


def test_narrowing_keeps_columns():
    space = small()
    narrow = space.narrow({"depth": [2, 3], "mid.1": 16})
    assert narrow.size == 2 + 4
    assert [d.name for d in narrow.dims] == [d.name for d in space.dims]
    assert all(arch in space for arch in narrow.sample(0, 20))
    assert space.smallest not in narrow
    assert space.size == 14


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"depth": 4, "mid.0": 8}, r"depth = 4 isn't on offer; choose one of \[1, 2, 3\]"),
        ({"depth": 1}, "lacks 'mid.0'"),
        ({"depth": 1, "mid.0": 8, "width": 3}, "unknown dim 'width'"),
        ({"depth": 2, "mid.0": 8, "mid.1": 9}, "mid.1 = 9 isn't on offer"),
    ],
)
def test_archs_that_the_space_lacks_are_refused(values, message):
    with pytest.raises(ArchError, match=message):
        small().arch(values)


def test_other_bad_input_is_refused():
    space = small()
    with pytest.raises(ArchError, match=r"names no dim; the space has depth, mid\.0"):
        space.variant({"kernel": 3})
    with pytest.raises(ArchError, match=r"'dpth' names no dim; did you mean depth\?"):
        space.variant({"dpth": 2})
    with pytest.raises(ArchError, match=r"unknown dim 'mid.00'; did you mean mid\.0"):
        space.arch({"depth": 1, "mid.00": 8})
    with pytest.raises(
        ArchError, match=r"no dim is called 'mid'; 'mid' is a kind of dims: space\.variant\({'mid': …}\)"
    ):
        space.arch({"depth": 1, "mid": 8})
    with pytest.raises(ArchError, match="none of"):
        space.narrow({"depth": [7]})
    with pytest.raises(ArchError, match=r"'depth': \[9\] are no choices; it has \[1, 2, 3\], leave the others out"):
        space.narrow({"depth": [2, 9]})
    with pytest.raises(ArchError, match="4 columns"):
        space.decode(np.zeros((2, 3), int))
    with pytest.raises(ArchError, match="depth has choices 0…2, got 3"):
        space.decode(np.array([[3, 0, 0, 0]]))
    with pytest.raises(ArchError, match="unknown dim 'x'"):
        space["x"]


@given(space=spaces(), seed=st.integers(0, 2**31))
def test_archs_of_a_narrower_space_are_the_same_in_the_whole(space, seed):
    fewer = {dim.name: dim.choices[(seed >> at) % len(dim.choices) :] for at, dim in enumerate(space.dims)}
    narrow = space.narrow(fewer)
    rows = narrow.sample_rows(seed, 8)
    assert space.decode(space.widened(rows, narrow)) == narrow.decode(rows)


def test_an_exact_name_is_that_dim_alone():
    space = SearchSpace(tuple(Dim(name, (8, 16)) for name in ("stem", "stem.0", "stem.1", "mid.0", "mid.1")))

    def narrowed(key):
        return [dim.name for dim in space.narrow({key: 8}).dims if dim.choices == (8,)]

    assert narrowed("stem") == ["stem"]
    assert narrowed("stem.0") == ["stem.0"]
    assert narrowed("stem.*") == ["stem.0", "stem.1"]
    assert narrowed("stem*") == ["stem", "stem.0", "stem.1"]
    assert narrowed("mid") == narrowed("mid.*") == ["mid.0", "mid.1"], "a kind, where no dim is called so"
    assert space.variant({"stem": 8}) == {"stem": 8, "stem.0": 16, "stem.1": 16, "mid.0": 16, "mid.1": 16}


@pytest.mark.parametrize("given", [3, None, "middle", 1.5])
def test_what_is_no_arch_is_said_in_a_sentence(given):
    space = SearchSpace((Dim("mid", (8, 16)),))
    for asked in (space.arch, space.rows, lambda one: space.rows([one]), lambda one: space.encode([one])):
        with pytest.raises(ArchError, match=rf"wanted an arch, .* such as space.largest; got {given!r}"):
            asked(given)
    assert given not in space


def test_notebooks_show_tables():
    space = SearchSpace((Dim("mid.0", (8, 16)), Dim("mid.1", (8, 16)), Dim("<depth>", (1, 2))))
    shown = space._repr_html_()
    assert "<td>mid</td><td>mid.0, mid.1</td><td>8, 16</td>" in shown
    assert "&lt;depth&gt;" in shown
    assert "<td>mid.0</td><td>8</td>" in space.smallest._repr_html_()
    many = Arch({f"mid.{at}": at for at in range(100)})._repr_html_()
    assert "100 dims" in many
    assert "<td>mid.99</td><td>99</td>" in many
    assert many.count("<tr>") <= 25


@pytest.mark.parametrize("keep", ["prefix", "centre", "spread"])
@pytest.mark.parametrize("full", [1, 2, 5, 7, 12])
def test_a_gate_passes_for_the_depths_that_keep_its_index(keep, full):
    depths = np.arange(1, full + 1)
    for index in range(full):
        gate = Gate("depth", index, full, keep)
        kept = [index in kept_indices(full, int(depth), keep) for depth in depths]
        assert gate.passes(depths).tolist() == [gate.passes(int(depth)) for depth in depths] == kept


def test_smallest_and_largest_are_words_for_archs():
    space = small()
    assert space.arch("smallest") == space.smallest
    assert space.arch("largest") == space.largest
    assert (space.rows("smallest") == space.encode([space.smallest])).all()
    with pytest.raises(ArchError, match=r"wanted an arch, .* such as space.largest; got .middle."):
        space.arch("middle")

"""Search spaces drawn at random."""

from hypothesis import strategies as st

from elastic import SearchSpace
from elastic.space.dims import Dim, Gate


@st.composite
def spaces(draw):
    """Two stages with gated dims, dims shared between stages, a container in a container, and resolution."""
    keep = draw(st.sampled_from(["prefix", "spread"]))
    dims = [Dim("embed", (8, 16)), Dim("resolution", (16, 32), counted=False)]
    for stage in range(2):
        full = draw(st.integers(2, 4))
        dims.append(Dim(f"depth.{stage}", tuple(range(draw(st.integers(1, full)), full + 1))))
        for block in range(full):
            gate = Gate(f"depth.{stage}", block, full, keep)
            dims.append(Dim(f"mid.{stage}.{block}", (4, 6, 8)[: draw(st.integers(1, 3))], frozenset({(gate,)})))
    outer = Gate("depth.0", 1, next(d.full for d in dims if d.name == "depth.0"), keep)
    dims.append(Dim("inner", (1, 2), frozenset({(outer,)})))
    dims.append(Dim("deep", (1, 3), frozenset({(outer, Gate("inner", 1, 2, keep))})))
    dims.append(Dim("shared", (1, 2), frozenset({(outer,), (Gate("depth.1", 1, 4, keep),)})))
    return SearchSpace(tuple(dims))

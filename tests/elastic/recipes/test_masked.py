"""Sliced = masked: zeros for what an arch leaves out of the full network give what its subnet gives.

That active and extracted subnets agree can't show a number that both read wrongly; this can. Left out are sizes that a
norm spans, since it divides by what is there, and blocks, which aren't masked.
"""

from importlib.util import find_spec

import families
import pytest
import torch
from examples import mostly_swept

from elastic.support.inputs import predict
from elastic.testing import maskable, masked

CASES = {name: (families, case.images()) for name, case in families.CASES.items() if name != "convnext-v2"}
"""A norm spans all that is elastic of the one that is left out."""
if find_spec("transformers"):
    import text_families

    CASES |= {name: (text_families, text_families.inputs()) for name in text_families.CASES}
    CASES.pop("dynabert")  # likewise: its width is that of its heads
ALWAYS = [*set(families.CASES) & set(CASES), *({"bert", "electra", "llama", "qwen3"} & set(CASES))]


@pytest.mark.parametrize("name", mostly_swept(CASES, ALWAYS))
@torch.no_grad()
def test_sliced_is_masked(name):
    module, inputs = CASES[name]
    made = module.supernet(name)
    for arch in (made.space.smallest, made.space.sample(1)):
        arch = maskable(made, arch)
        assert arch != made.space.largest
        sliced, whole = predict(made.extract(arch), inputs), predict(masked(made, arch), inputs)
        assert torch.allclose(sliced, whole, rtol=0, atol=1e-3 * float(sliced.abs().max()))

import json
import os
import pickle
import subprocess
import sys

import pytest

from elastic import Arch, SearchSpace
from elastic.errors import ArchError
from elastic.space.dims import Dim


def test_archs_are_values():
    arch = Arch({"depth": 2, "width": 0.5})
    assert arch == Arch({"width": 0.5, "depth": 2}) == {"depth": 2, "width": 0.5}
    assert hash(arch) == hash(Arch({"width": 0.5, "depth": 2}))
    assert arch.id == Arch({"width": 0.5, "depth": 2}).id
    assert {arch: 1}[Arch(dict(arch))] == 1
    assert arch != Arch({"depth": 3, "width": 0.5})
    assert Arch.from_json(arch.to_json()) == arch
    assert json.loads(arch.to_json()) == dict(arch)
    with pytest.raises(TypeError):
        arch["depth"] = 3


def test_an_arch_from_another_process_is_the_same_key():
    """Strings hash differently there, so that a hash must not travel."""
    code = "import pickle, sys, elastic; sys.stdout.buffer.write(pickle.dumps(elastic.Arch({'depth': 2, 'e': 0.5})))"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment).stdout
    assert pickle.loads(other) in {Arch({"depth": 2, "e": 0.5})}


@pytest.mark.parametrize("text", ["{", "[1]", '{"depth": "two"}', '{"depth": true}', "null"])
def test_text_that_is_no_arch_is_refused(text):
    with pytest.raises(ArchError, match="not an arch"):
        Arch.from_json(text)


def test_a_repr_is_one_line():
    assert repr(Arch({"depth": 3, "width": 8})) == "Arch(depth=3, width=8)"
    many = Arch({f"mid.{at}": at for at in range(40)})
    assert repr(many) == (
        f"Arch({many.id}: mid.0=0, mid.1=1, mid.2=2, mid.3=3, mid.4=4, mid.5=5, …, mid.39=39; 40 dims)"
    )
    space = SearchSpace((Dim("depth", (1, 2)), Dim("mid.0", (4, 8)), Dim("mid.1", (4, 8))))
    assert repr(space) == "SearchSpace(8 subnets: depth, 2 mid)"

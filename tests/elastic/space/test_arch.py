import json
import os
import pickle
import subprocess
import sys

import pytest

from elastic import Arch
from elastic.errors import ArchError


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

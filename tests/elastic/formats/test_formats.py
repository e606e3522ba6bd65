"""Each format end to end: its file computes what the subnet computes, and its card says how to run it."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from disk import contents
from examples import mostly_swept
from exporting import CURE, FLOATS, installed, run_card
from small import FAMILIES, vit
from torch import nn

from elastic.errors import ExportError, PackageError
from elastic.formats import FORMATS
from elastic.formats.compare import TOLERANCE
from elastic.shipping.export import export

CASES = [(name, family) for name in FLOATS for family in FAMILIES]
ALWAYS = [(name, "mobilenet" if name == "executorch" else "vit") for name in FLOATS]  # its ViT takes twice as long


def images(supernet, arch, n=3):
    return torch.randn(n, *supernet.input_shape(arch), generator=torch.Generator().manual_seed(n))


@pytest.mark.parametrize(("name", "family"), mostly_swept(CASES, ALWAYS))
@pytest.mark.filterwarnings("ignore")  # converters and runtimes talk to their own developers
def test_the_file_computes_what_the_subnet_computes(name, family, tmp_path, monkeypatch):
    supernet, made = FAMILIES[family](), FORMATS[name]
    arch = supernet.space.smallest  # as in test_int8.py: its ONNX file is written once
    subnet = supernet.extract(arch)
    if not installed(name):
        with pytest.raises(PackageError, match=CURE):
            export(subnet, tmp_path / "out", ["safetensors", name], images(supernet, arch))
        assert not (tmp_path / "out").exists()
        return
    written = export(subnet, tmp_path, [name], images(supernet, arch))
    assert set(written.files) == set(made.files)
    facts = written.files[made.files[0]]
    assert facts["format"] == name
    assert 0 <= facts["difference"]["relative"] <= facts["tolerance"] == TOLERANCE
    forward = made.open(tmp_path / made.files[0], 1)
    for n in (1, 2, 5) if made.free else (1,):
        batch = images(supernet, arch, n)
        with supernet.active(arch), torch.no_grad():
            wanted = supernet(batch).numpy()
        assert np.abs(forward(batch)[0] - wanted).max() <= TOLERANCE * np.abs(wanted).max()
    (shown,) = run_card(tmp_path, monkeypatch, images=batch, image=batch[:1])
    np.testing.assert_allclose(shown, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["openvino", "openvino-int8", "executorch"])
def test_a_missing_package_is_named_with_the_cure_before_anything_is_written(name, tmp_path, monkeypatch):
    supernet = vit()
    subnet, batch = supernet.extract(supernet.space.smallest), images(supernet, supernet.space.smallest)
    export(subnet, tmp_path, example=batch)
    before = contents(tmp_path)
    needed = {"openvino": "openvino", "openvino-int8": "nncf", "executorch": "executorch"}[name]
    present = {"onnx", "onnxscript", "onnxruntime", "openvino", "nncf"} - {needed}
    monkeypatch.setattr("elastic.support.packages.find_spec", lambda name: present & {name} or None)
    with pytest.raises(
        PackageError, match=rf"needs {needed}; install with: pip install 'elastic-supernets\[{needed}\]'"
    ):
        export(subnet, tmp_path, ["safetensors", "onnx", name], batch, calibration=[batch])
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["onnx", "torch.export"])
def test_a_format_that_fails_leaves_the_folder_as_it_was(name, tmp_path, monkeypatch):
    supernet = vit()
    subnet, batch = supernet.extract(supernet.space.smallest), images(supernet, supernet.space.smallest)
    export(subnet, tmp_path, ["safetensors", "torch.export"], batch)
    before = contents(tmp_path)
    broken = replace(FORMATS[name], open=lambda path, threads: lambda inputs: [np.ones((len(inputs), 5))])
    monkeypatch.setitem(FORMATS, name, broken)
    with pytest.raises(ExportError, match="computes something else"):
        export(subnet, tmp_path, ["safetensors", name], batch)
    assert contents(tmp_path) == before


class Unruly(nn.Module):
    """What it computes depends on the data."""

    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


@pytest.mark.parametrize("name", ["torch.export", "executorch"])
def test_a_model_that_cannot_be_expressed_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.setattr("elastic.support.packages.find_spec", lambda name: True)
    with pytest.raises(ExportError, match=r"torch\.export can't express Unruly: .*; choose another format"):
        export(Unruly(), tmp_path, [name], torch.ones(2, 2))
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(find_spec("executorch") is None, reason="the extra executorch isn't installed")
@pytest.mark.filterwarnings("ignore")
def test_executorch_says_what_it_cannot_lower(tmp_path):
    class Odd(nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x)

    with pytest.raises(ExportError, match="ExecuTorch can't express Odd"):
        export(Odd(), tmp_path, ["executorch"], torch.ones(2, 2))
    assert not any(tmp_path.iterdir())

"""int8 after training: files with int8 inside, and what they cost, counted on real inputs."""

import numpy as np
import onnx
import pytest
import torch
from exporting import CURE, installed, run_card
from small import FAMILIES, vit

from elastic.errors import ExportError, PackageError
from elastic.formats import FORMATS
from elastic.formats.compare import one_by_one
from elastic.shipping.export import export

INT8 = [name for name, made in FORMATS.items() if made.quantized]


def inputs(supernet, arch, n, seed):
    return torch.randn(n, *supernet.input_shape(arch), generator=torch.Generator().manual_seed(seed))


def opened(name, folder):
    forward = FORMATS[name].open(folder / FORMATS[name].files[0], 1)
    return forward if FORMATS[name].free else one_by_one(forward)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", INT8)
@pytest.mark.filterwarnings("ignore")  # converters talk to their own developers
def test_int8_says_its_accuracy_before_and_after(name, family, tmp_path):
    supernet, made = FAMILIES[family](), FORMATS[name]
    arch = supernet.space.smallest
    subnet, calibration = supernet.extract(arch).eval(), inputs(supernet, arch, 40, 0)
    batch = inputs(supernet, arch, 50, 1)
    with torch.no_grad():
        labels = subnet(batch).argmax(1)
    labels[:10] = (labels[:10] + 1) % 5  # so that before isn't 100 %
    options = {"calibration": [calibration[:25], calibration[25:]], "validation": [(batch, labels)]}
    if not installed(name):
        with pytest.raises(PackageError, match=CURE):
            export(subnet, tmp_path, [name], **options)
        return
    written = export(subnet, tmp_path, [name], **options)
    facts = written.files[made.files[0]]
    forward = opened(name, tmp_path)
    after = 100 * float(np.mean(forward(batch)[0].argmax(1) == labels.numpy()))
    assert facts["accuracy"] == {"before": 80.0, "after": pytest.approx(after), "inputs": 50}
    assert facts["calibrated_on"] == 40
    assert after > 50
    assert facts["difference"]["relative"] < 0.5
    assert f"accuracy {after:.2f} %, before 80.00 %, on 50 validation inputs" in (tmp_path / "README.md").read_text()
    np.testing.assert_allclose(forward(batch[:1])[0], forward(batch)[0][:1], rtol=1e-3, atol=1e-3)


def test_weights_are_int8_with_a_scale_per_channel(tmp_path):
    supernet = vit()
    arch = supernet.space.smallest
    export(supernet.extract(arch), tmp_path, ["onnx-int8"], calibration=[inputs(supernet, arch, 8, 0)])
    held = {one.name: one for one in onnx.load(tmp_path / "model.int8.onnx").graph.initializer}
    quantized = [one for one in held.values() if one.data_type == onnx.TensorProto.INT8 and len(one.dims) > 1]
    assert len(quantized) >= 4 * 2 + 2  # four matrices to a block; the patches and the head
    assert all(len(held[f"{one.name.removesuffix('_quantized')}_scale"].dims) == 1 for one in quantized)


@pytest.mark.parametrize("name", [name for name in INT8 if installed(name)])
@pytest.mark.filterwarnings("ignore")
def test_where_nothing_is_labelled_agreement_is_said(name, tmp_path):
    supernet = vit()
    arch = supernet.space.smallest
    subnet, batch = supernet.extract(arch).eval(), inputs(supernet, arch, 20, 0)
    written = export(subnet, tmp_path, [name], calibration=[batch])
    facts = written.files[FORMATS[name].files[0]]
    with torch.no_grad():
        same = opened(name, tmp_path)(batch)[0].argmax(1) == subnet(batch).argmax(1).numpy()
    assert facts["agreement"] == {"percent": pytest.approx(100 * same.mean()), "inputs": 20}
    assert "accuracy" not in facts
    assert (
        f"the same class as in float32 for {100 * same.mean():.1f} % of 20 calibration inputs"
        in (tmp_path / "README.md").read_text()
    )


def test_without_real_inputs_int8_is_refused(tmp_path):
    supernet = vit()
    with pytest.raises(ExportError, match="onnx-int8 needs real inputs to find int8's ranges on; pass calibration="):
        export(supernet.extract(supernet.space.smallest), tmp_path / "out", ["safetensors", "onnx-int8"])
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not installed("openvino-int8"), reason="the extras openvino and nncf aren't installed")
@pytest.mark.filterwarnings("ignore")
def test_openvino_in_int8_runs_for_one_image_as_the_card_says(tmp_path, monkeypatch):
    """A free batch would crash on processors with AMX."""
    supernet = FAMILIES["mobilenet"]()
    arch = supernet.space.largest
    batch = inputs(supernet, arch, 4, 0)
    written = export(supernet.extract(arch), tmp_path, ["openvino-int8"], calibration=[batch])
    assert written.files["model.int8.xml"]["batch"] == 1
    shape = openvino_shape(tmp_path / "model.int8.xml")
    assert shape == [1, *supernet.input_shape(arch)]
    (shown,) = run_card(tmp_path, monkeypatch, image=batch[:1].numpy())
    np.testing.assert_allclose(shown, opened("openvino-int8", tmp_path)(batch[:1])[0], rtol=1e-3, atol=1e-3)


def openvino_shape(path):
    import openvino

    return list(openvino.Core().read_model(path).input().shape)


@pytest.mark.skipif(not installed("openvino-int8"), reason="the extras openvino and nncf aren't installed")
def test_openvino_in_int8_refuses_text(tmp_path):
    model = torch.nn.Embedding(7, 3)
    text = {"input": torch.zeros(2, 4, dtype=torch.int64)}
    with pytest.raises(ExportError, match="fixed size, which text isn't; choose onnx-int8"):
        export(model, tmp_path, ["openvino-int8"], calibration=[text])
    assert not any(tmp_path.iterdir())

"""Exported files compute what the model computes, and a failed export changes nothing."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from disk import contents, full_disk, renames_that_end
from small import SOURCE, mobilenet, randomise, vit
from torch import nn

from elastic.errors import CheckpointError, ExportError
from elastic.formats import FORMATS
from elastic.formats.compare import TOLERANCE, compare
from elastic.formats.onnx_files import open_onnx, run_onnx, write_onnx
from elastic.reporting.tables import export_table
from elastic.shipping.card import ModelCard
from elastic.shipping.export import export, measure_costs
from elastic.shipping.loading import load_subnet
from elastic.supernet.subnet_folder import read_subnet_config


def images(supernet, arch, n=3, seed=1):
    return torch.randn(n, *supernet.input_shape(arch), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A ViT subnet in both formats, with what it was made from."""
    supernet = SOURCE.build()
    randomise(supernet.model)
    arch = supernet.space.sample(4)
    subnet = supernet.extract(arch)
    card = ModelCard("Small", {"accuracy": 91.25}, data="digits", license="Apache-2.0", text="Cut out for a test.")
    folder = tmp_path_factory.mktemp("exported")
    written = export(subnet, folder, ["safetensors", "onnx"], images(supernet, arch), arch, SOURCE, card)
    return supernet, arch, subnet, written


@pytest.mark.parametrize("family", [vit, mobilenet])
def test_onnx_computes_what_torch_computes_at_any_batch_size(family, tmp_path):
    supernet = family()
    arch = supernet.space.smallest  # as in test_formats.py: its ONNX file is written once
    subnet = supernet.extract(arch)
    written = export(subnet, tmp_path, ["onnx"], images(supernet, arch, n=2))
    session = open_onnx(tmp_path / "model.onnx", threads=1)
    for n in (1, 2, 5):
        batch = images(supernet, arch, n, seed=n)
        with supernet.active(arch), torch.no_grad():
            wanted = supernet(batch).numpy()
        given = run_onnx(session, [batch])[0]
        assert np.abs(given - wanted).max() <= TOLERANCE * np.abs(wanted).max()
    assert 0 <= written.files["model.onnx"]["difference"]["relative"] <= TOLERANCE


def test_a_fixed_batch_size_changes_no_output(exported):
    supernet, arch, _, written = exported
    batch = images(supernet, arch, 1)
    outputs = [run_onnx(open_onnx(written.folder / "model.onnx", batch_size=size), [batch])[0] for size in (None, 1)]
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-5)


def test_the_folder_gives_the_subnet_back_bit_for_bit(exported):
    supernet, arch, subnet, written = exported
    loaded, config = load_subnet(written.folder)
    batch = images(supernet, arch)
    with torch.no_grad():
        assert torch.equal(loaded(batch), subnet.eval()(batch))
    assert type(loaded) is type(subnet)
    assert config["arch"] == dict(arch)
    assert config["metrics"]["params"] == supernet.params([arch])[0]
    assert config["metrics"]["macs"] == supernet.macs([arch])[0]
    assert config["input_size"] == list(supernet.input_shape(arch))


def test_a_folder_that_calls_the_metrics_figures_is_read(exported, tmp_path):
    config = json.loads((exported[3].folder / "config.json").read_text())
    metrics = config.pop("metrics")
    (tmp_path / "config.json").write_text(json.dumps({**config, "figures": metrics}))
    assert read_subnet_config(tmp_path) == {**config, "metrics": metrics}


def test_the_card_says_what_was_measured(exported):
    card = (exported[3].folder / "README.md").read_text()
    for text in ("# Small", "91.25 %", "Cut out for a test.", "Apache-2.0", exported[1].id, "model.onnx", "digits"):
        assert text in card


def test_costs_are_those_of_the_supernets_formulas():
    supernet = mobilenet()
    arch = supernet.space.sample(1)
    costs = measure_costs(supernet.extract(arch).eval(), images(supernet, arch, 1))
    assert costs == {"params": supernet.params([arch])[0], "macs": supernet.macs([arch])[0]}


def test_exporting_leaves_the_subnet_as_it_was(tmp_path):
    supernet = mobilenet()
    arch = supernet.space.smallest
    subnet = supernet.extract(arch).train()
    before = {name: value.clone() for name, value in subnet.state_dict().items()}
    export(subnet, tmp_path, example=images(supernet, arch))
    assert subnet.training
    assert all(torch.equal(value, before[name]) for name, value in subnet.state_dict().items())


def test_without_an_example_the_models_own_input_size_is_taken(tmp_path):
    supernet = vit()
    arch = supernet.space.variant({"resolution": 24})
    export(supernet.extract(arch), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["input_size"] == [3, 24, 24]


@pytest.mark.parametrize("broken", ["support.weights.save", "formats.format.write_onnx", "shipping.export.write_card"])
def test_a_full_disk_leaves_the_former_export_whole(exported, monkeypatch, broken):
    supernet, arch, subnet, written = exported
    before = contents(written.folder)
    monkeypatch.setattr(f"elastic.{broken}", full_disk)
    with pytest.raises(OSError, match="No space"):
        export(subnet, written.folder, ["safetensors", "onnx"], images(supernet, arch))
    assert contents(written.folder) == before


@pytest.mark.parametrize("after", range(3))
def test_a_move_that_fails_leaves_the_former_export_or_one_that_is_refused(exported, tmp_path, monkeypatch, after):
    supernet, arch, subnet, _ = exported
    export(subnet, tmp_path, ["safetensors"], images(supernet, arch), arch, SOURCE)
    before, wanted = contents(tmp_path), subnet.state_dict()
    other = supernet.space.smallest
    with monkeypatch.context() as failing:
        renames = renames_that_end(failing, tmp_path, after, PermissionError(errno.EACCES, "held open"))
        with pytest.raises(PermissionError):
            export(supernet.extract(other), tmp_path, example=images(supernet, other), arch=other, source=SOURCE)
    assert len(renames) > after
    if "model.safetensors" in [target.name for target in renames[:after]]:
        with pytest.raises(CheckpointError, match="another SHA-256"):
            load_subnet(tmp_path)
    else:
        loaded, _ = load_subnet(tmp_path)
        assert all(torch.equal(value, wanted[name]) for name, value in loaded.state_dict().items())
    if after == 0:
        assert contents(tmp_path) == before


def test_files_of_the_same_subnet_stay(exported, tmp_path):
    supernet, arch, subnet, _ = exported
    export(subnet, tmp_path, ["safetensors", "onnx"], images(supernet, arch))
    before = json.loads((tmp_path / "config.json").read_text())
    written = export(subnet, tmp_path, ["safetensors"], images(supernet, arch))
    assert written.files == json.loads((tmp_path / "config.json").read_text())["files"] == before["files"]
    (tmp_path / "model.onnx").unlink()
    assert set(export(subnet, tmp_path, example=images(supernet, arch)).files) == {"model.safetensors"}


def test_another_subnets_files_do_not_stay(exported, tmp_path):
    supernet, arch, subnet, _ = exported
    assert not export(subnet, tmp_path, ["safetensors", "onnx"], images(supernet, arch), arch).replaced
    (tmp_path / "mine.onnx").write_bytes(b"mine")
    other = supernet.space.smallest
    with pytest.raises(ExportError):
        export(nn.Linear(2, 2), tmp_path)
    assert (tmp_path / "model.onnx").exists()
    replaced = export(supernet.extract(other), tmp_path, ["safetensors"], images(supernet, other), other)
    assert (replaced.replaced, replaced.removed) == (arch.id, ["model.onnx"])
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"README.md", "config.json", "load.py", "mine.onnx", "model.safetensors", "sizes.json"}


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [lambda supernet: supernet, lambda supernet: supernet.model, nn.Sequential])
def test_what_is_elastic_is_refused(part, tmp_path):
    supernet = vit()
    with pytest.raises(ExportError, match=r"is elastic, .* cut one out first: supernet.extract\(arch\)"):
        export(part(supernet), tmp_path / "out", example=images(supernet, supernet.space.largest))
    assert not (tmp_path / "out").exists()


def test_a_format_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ExportError, match="no format 'gif'; choose of safetensors, onnx, onnx-int8, openvino"):
        export(nn.Linear(2, 2), tmp_path / "out", ["safetensors", "gif"], torch.zeros(2, 2))
    assert not (tmp_path / "out").exists()


def test_a_file_that_computes_something_else_is_refused(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    batch = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "a.onnx"
    write_onnx(model, [batch], path)
    forward = FORMATS["onnx"].open(path, 1)
    compare(model, forward, batch, path)
    with torch.no_grad():
        model[0].bias.add_(1.0)
    for free in (True, False):
        with pytest.raises(ExportError, match=r"a\.onnx computes something else than the model"):
            compare(model, forward, batch, path, free)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_file_that_computes_no_number_is_refused(value):
    model, batch = nn.Linear(3, 2).eval(), torch.zeros(2, 3)

    def forward(inputs):
        return [np.array([[0, value]] * len(inputs), np.float32)]

    with pytest.raises(ExportError, match="computes something else than the model"):
        compare(model, forward, batch, Path("a.onnx"))


def test_a_model_that_computes_nan_is_refused_and_one_that_rules_classes_out_is_not():
    class Masking(nn.Module):
        def forward(self, x):
            return x.masked_fill(x > 1, -torch.inf)

    def forward(inputs):
        return [Masking()(inputs).numpy()]

    batch = torch.tensor([[0.0, 2.0], [3.0, 1.0]])
    assert compare(Masking(), forward, batch, Path("a.onnx")).largest == 0
    with pytest.raises(ExportError, match="the model computes NaN"):
        compare(Masking(), forward, batch * torch.nan, Path("a.onnx"))


def test_a_model_that_cannot_be_exported_is_refused(tmp_path):
    class Unruly(nn.Module):
        def forward(self, x):
            return x * 2 if x.sum() > 0 else x  # depends on the data

    with pytest.raises(ExportError, match="PyTorch can't write Unruly as ONNX"):
        write_onnx(Unruly(), [torch.ones(2, 2)], tmp_path / "a.onnx")


def test_a_single_example_cannot_free_the_batch_size(tmp_path):
    with pytest.raises(ExportError, match="an example batch of 2 or more"):
        write_onnx(nn.Linear(2, 2), [torch.zeros(1, 2)], tmp_path / "a.onnx")


def test_a_model_without_an_input_size_needs_an_example(tmp_path):
    with pytest.raises(ExportError, match="pass example="):
        export(nn.Linear(2, 2), tmp_path)


def test_a_broken_onnx_file_is_refused(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"soup")
    with pytest.raises(ExportError, match="isn't a readable ONNX file"):
        open_onnx(tmp_path / "a.onnx")


def test_every_file_of_an_export_is_in_its_table(exported):
    *_, written = exported
    listed = {Path(str(place)).name for place in export_table(written).columns[0].cells}
    assert listed == {path.name for path in written.folder.iterdir()}


def test_formats_may_be_text(tmp_path):
    assert list(export(nn.Linear(2, 2), tmp_path, "safetensors", torch.zeros(2, 2)).files) == ["model.safetensors"]
    with pytest.raises(ExportError, match="no format 'onx'"):
        export(nn.Linear(2, 2), tmp_path, "safetensors, onx", torch.zeros(2, 2))


def test_a_folder_that_cannot_be_rebuilt_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="doesn't exist; wanted an exported subnet"):
        load_subnet(tmp_path)
    export(nn.Linear(2, 2), tmp_path, example=torch.zeros(2, 2))
    with pytest.raises(CheckpointError, match="doesn't say source and arch"):
        load_subnet(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="isn't an exported subnet"):
        load_subnet(tmp_path)


def test_truncated_weights_are_refused(exported, tmp_path):
    supernet, arch, subnet, _ = exported
    export(subnet, tmp_path, example=images(supernet, arch), arch=arch, source=SOURCE)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match="truncated"):
        load_subnet(tmp_path)

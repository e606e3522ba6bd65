"""Invariant 2 after export: the ONNX file of a random subnet of every family computes what the subnet computes."""

import pytest
from examples import mostly_swept
from families import CASES, supernet

import elastic
from elastic.formats.compare import TOLERANCE

FAMILIES = [
    "resnet bottleneck",
    "resnext",
    "se-resnet",
    "regnet-x",
    "regnet-y",
    "mobilenet-v2",
    "mobilenet-v3 with matrices",
    "efficientnet",
    "mnasnet",
    "convnext",
    "convnext-v2",
    "vit",
    "vit with qk-norm",
    "deit distilled",
    "deit3",
    "vit with registers",
]


ALWAYS = ["resnet bottleneck"]  # and ViT in test_formats.py


@pytest.mark.parametrize("name", mostly_swept(FAMILIES, ALWAYS))
def test_the_exported_file_computes_the_subnet(name, tmp_path):
    made = supernet(name)
    arch = made.space.sample(len(name))
    with made.active(arch):
        images = made.resize(CASES[name].images())
    written = elastic.export(made.extract(arch), tmp_path, ["onnx"], example=images)
    assert written.files["model.onnx"]["difference"]["relative"] <= TOLERANCE

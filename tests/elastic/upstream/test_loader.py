"""The loader is library code and is copied into exports: both uses build, change and normalise the same model."""

import ast
import inspect
import sys
from types import ModuleType

import pytest
import torch

from elastic.upstream import library_of, loader

BUILDS = {
    "timm": {"library": "timm", "name": "resnet18", "arguments": {"num_classes": 3, "channels": [8, 8, 8, 8]}},
    "transformers": {
        "library": "transformers",
        "name": "BertModel",
        "arguments": {
            "model_type": "bert", "vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 8,
            "num_attention_heads": 2,
        },
    },
}  # fmt: skip
NORMALIZED = {**BUILDS["timm"], "normalize": {"path": "conv1", "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}}


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """The loader as an exported folder has it: a file of its own, that imports nothing of this project."""
    path = tmp_path_factory.mktemp("exported") / "load.py"
    path.write_text(inspect.getsource(loader), encoding="utf-8")
    module = ModuleType("copied_loader")
    module.__file__ = str(path)
    exec(compile(path.read_text(encoding="utf-8"), path, "exec"), vars(module))
    return module


@pytest.mark.parametrize("build", [*BUILDS.values(), NORMALIZED], ids=[*BUILDS, "normalized"])
def test_library_and_copy_build_the_same_model(build, copied):
    def made(module):
        torch.manual_seed(0)
        return module.build(**build).eval()

    ours, theirs = made(loader), made(copied)
    assert library_of(ours).name == build["library"]
    assert str(ours) == str(theirs)
    assert all(torch.equal(one, theirs.state_dict()[name]) for name, one in ours.state_dict().items())
    if build["library"] == "timm":
        images = torch.rand(2, 3, 32, 32)
        assert torch.equal(ours(images), theirs(images))


def test_the_copy_needs_pytorch_safetensors_and_the_models_library_only():
    tree = ast.parse(inspect.getsource(loader))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in modules} - sys.stdlib_module_names == {"torch", "safetensors"}

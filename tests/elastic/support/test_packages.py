"""Optional packages: what works without them, and the sentence where it doesn't."""

import ast
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import tomllib

from elastic.errors import ElasticError, PackageError
from elastic.support.packages import _EXTRAS, explain_missing, require_packages
from trainers.cli.commands import COMMANDS

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

HIDDEN = f"""
import sys, warnings
warnings.simplefilter("error")
from hiding import hide
hide{tuple(_EXTRAS)}
import elastic, trainers, zoo, torch, timm
from elastic.errors import PackageError
from trainers.cli.main import main

def says(function, *args):
    try:
        function(*args)
    except PackageError as error:
        print(error)
    else:
        print("nothing")
"""


SMALL = """
sizes = {"num_classes": 10, "channels": [16, 16, 24, 32], "layers": [1, 2, 1, 1]}
model = elastic.elasticize(timm.create_model("resnet18", **sizes), input_size=(3, 32, 32)).eval()
"""
CUTS_OUT = """
arch = model.space.sample(0)
subnet = model.extract(arch)
images = torch.rand(2, 3, arch["resolution"], arch["resolution"])
with torch.inference_mode(), model.active(arch):
    assert torch.equal(model(images), subnet(images))
assert model.macs([arch])[0] > 0 and model.params([arch])[0] == sum(p.numel() for p in subnet.parameters())
source = elastic.SupernetSource("resnet18", sizes, input_size=[3, 32, 32])
elastic.export(subnet, "out", ["safetensors", "torch.export"], images, arch=arch, source=source)
loaded, config = elastic.load_subnet("out")
assert torch.equal(loaded(images), subnet(images))
assert main(["zoo", "list"]) == 0
print("done")
"""
REFUSES = """
import numpy as np
from elastic.prediction.predictor import fit_predictor
from elastic.reporting.charts import draw_lines
from elastic.upstream.building import build_transformer

subnet = model.extract(model.space.smallest)
says(elastic.search, model)
says(fit_predictor, elastic.ArchFeatures(model.space), model.space.sample_rows(0, 20), np.ones(20))
says(draw_lines, {}, "", "")
says(build_transformer, "transformers/bert", {})
says(getattr, trainers, "SupernetModule")
for name in ("onnx", "openvino", "openvino-int8", "executorch"):
    says(elastic.export, subnet, "out", [name], torch.rand(2, 3, 32, 32), [torch.rand(1, 3, 32, 32)])
for words in (["fit", "--config", "digits"], ["search", "runs/run"], ["profile", "runs/run"], ["demo"]):
    assert main(words) == 2
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What both programs print in one process that has no optional package."""
    folder = tmp_path_factory.mktemp("hidden")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests/helpers")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", HIDDEN + SMALL + CUTS_OUT + REFUSES]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return (done.stdout + done.stderr).splitlines()


def test_a_subnet_is_cut_out_saved_and_loaded_without_any_optional_package(said):
    assert "done" in said


def test_what_needs_an_optional_package_says_so_in_one_sentence(said):
    wanted = [
        r"a search needs moocore; .*\[search\]'",
        r"a prediction needs sklearn, scipy; .*\[search\]'",
        r"a report needs plotly; .*\[report\]'",
        r"transformers/bert needs transformers; .*\[nlp\]'",
        r"trainers\.SupernetModule needs \w+; .*\[train\]'",
        r"ONNX needs onnx, onnxscript, onnxruntime; .*\[onnx\]'",
        r"ONNX needs onnx, onnxscript, onnxruntime; .*\[onnx\]'",
        r"ONNX needs onnx, onnxscript, onnxruntime; .*\[onnx\]'",
        r"ExecuTorch needs executorch; .*\[executorch\]'",
        r"elastic: elastic fit needs \w+; .*\[train\]'",
        *[r"elastic: .*needs .*; .*\[.+\]'" for _ in ("search", "profile", "demo")],
    ]
    refusals = said[said.index("done") + 1 :]
    assert len(refusals) == len(wanted), refusals
    for line, pattern in zip(refusals, wanted, strict=True):
        assert re.fullmatch(pattern.replace("; .*", "; install with: pip install 'elastic-supernets"), line), line


def test_several_missing_packages_are_named_with_all_their_extras(monkeypatch):
    monkeypatch.setattr("elastic.support.packages.find_spec", lambda name: None if name != "torch" else name)
    cure = r"it all needs plotly, sklearn, pymoo; install with: pip install 'elastic-supernets\[report,search\]'"
    with pytest.raises(PackageError, match=cure) as raised:
        require_packages("it all", "torch", "plotly", "sklearn", "pymoo")
    assert isinstance(raised.value, ElasticError)
    assert isinstance(raised.value, ImportError)
    require_packages("nothing", "torch")


def test_an_import_that_failed_is_explained_where_an_extra_has_the_module():
    explained = explain_missing(ModuleNotFoundError("no", name="lightning.pytorch.cli"), "elastic fit")
    assert str(explained) == "elastic fit needs lightning; install with: pip install 'elastic-supernets[train]'"
    assert explain_missing(ModuleNotFoundError("no", name="numpie"), "elastic fit") is None


def test_each_package_that_is_asked_for_is_of_an_extra():
    asked = {module for command in COMMANDS.values() for module in command.needs}
    for file in (file for package in ("elastic", "trainers", "zoo") for file in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "require_packages":
                asked |= {module.value for module in node.args[1:] if isinstance(module, ast.Constant)}
    assert asked
    assert asked <= {*_EXTRAS}


def test_each_extra_installs_the_modules_that_it_is_named_for():
    extras = PROJECT["optional-dependencies"]
    distributions = packages_distributions()
    for module, extra in _EXTRAS.items():
        names = {name.lower() for name in distributions.get(module, [module])}
        required = {re.split(r"[><=\[ ]", line)[0].lower() for line in extras[extra]}
        assert names & required, f"{module} isn't in {extra}"
    assert {*_EXTRAS.values()} <= {*re.findall(r"[\w-]+", extras["all"][0].partition("[")[2])}

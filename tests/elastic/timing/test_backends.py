"""Runtimes: each computes what PyTorch computes, on the models that a profile times. Nothing here asserts a time."""

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from examples import mostly_swept
from forked import run_program
from small import FAMILIES, vit
from torch import nn

from elastic.errors import ExportError, PackageError
from elastic.formats.onnx_files import open_onnx, run_onnx, write_onnx_files
from elastic.profiles.blocks import build_variant, distinct_variants, find_blocks
from elastic.profiles.measuring import measure_profile
from elastic.timing.backends import BACKENDS, check_setting, fingerprint, own_code, prepare, prepare_all
from elastic.timing.setting import Setting

NEEDS = {"openvino": "the extra openvino isn't installed"}
INSTALLED = [
    pytest.param(name, marks=[pytest.mark.skipif(name in NEEDS and not find_spec(name), reason=NEEDS.get(name, ""))])
    for name in BACKENDS
]
ON_FILES = [one for one in INSTALLED if one.values[0] in ("onnxruntime", "openvino")]


@pytest.mark.parametrize("runtime", INSTALLED)
def test_each_runtime_is_ready_and_named_in_the_fingerprint(runtime):
    setting = Setting(runtime, batch_size=2)
    check_setting(setting)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
    prepare(model, [torch.randn(2, 3, 8, 8)], setting)()
    found = fingerprint(setting)
    assert {"processor", "cores", "system", "python", "torch", "date", *BACKENDS[runtime].packages} <= set(found)


@pytest.mark.parametrize("runtime", ON_FILES)
def test_runtimes_of_onnx_files_compute_what_the_modules_compute(runtime):
    supernet = vit()
    given = [
        build_variant(supernet, variant, batch_size=2)
        for variant in list(distinct_variants(find_blocks(supernet)).values())[::15]
    ]
    runs = prepare_all(given, Setting(runtime, batch_size=2))
    assert len(runs) == len(given) > 3
    for run, (module, inputs) in zip(runs, given, strict=True):
        outputs = run()
        first = outputs[0] if isinstance(outputs, list) else outputs.to_tuple()[0]
        with torch.inference_mode():
            np.testing.assert_allclose(first, module(*inputs).numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", mostly_swept(FAMILIES, ["vit"]))
def test_models_exported_together_compute_what_each_computes(family, tmp_path):
    supernet = FAMILIES[family]()
    archs = supernet.space.sample(0, 2)
    given = [(supernet.extract(arch).eval(), [torch.randn(1, *supernet.input_shape(arch))]) for arch in archs]
    paths = [tmp_path / f"{arch.id}.onnx" for arch in archs]
    write_onnx_files(given, paths)
    for path, (model, inputs) in zip(paths, given, strict=True):
        with torch.inference_mode():
            np.testing.assert_allclose(run_onnx(open_onnx(path), inputs)[0], model(*inputs), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("runtime", ON_FILES)
def test_whole_subnets_are_measured(runtime):
    profile = measure_profile(vit(), Setting(runtime), subnets=2, time_limit=0.1, blocks=0)
    assert len(profile.subnets) == 2
    assert profile.setting.runtime == runtime


def test_half_precision_runs_in_half_precision():
    seen = []
    model = nn.Linear(4, 4)
    model.register_forward_pre_hook(lambda module, inputs: seen.append((inputs[0].dtype, module.weight.dtype)))
    prepare(model, [torch.randn(1, 4)], Setting(precision="bfloat16"))()
    assert seen == [(torch.bfloat16, torch.bfloat16)]


def test_compiled_models_of_one_class_do_not_share_their_compilations():
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    models = [nn.Linear(size, size).eval() for size in range(2, 14)]  # more than the compiler keeps for one code
    runs = [torch.compile(own_code(model), dynamic=False, backend=backend, fullgraph=True) for model in models]
    for _ in range(2):
        for model, run in zip(models, runs, strict=True):
            inputs = torch.randn(1, model.in_features)
            torch.testing.assert_close(run(inputs), model(inputs))
    assert len(compiled) == len(models)


def test_a_missing_compiler_is_said(monkeypatch):
    from torch._inductor import cpp_builder, exc

    def none():
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none)
    torch.compiler.reset()
    with pytest.raises(ExportError, match=r"can't be compiled.*needs a C\+\+ compiler\. Install one"):
        prepare(nn.Sequential(nn.Linear(7, 3), nn.ReLU()).eval(), [torch.randn(1, 7)], Setting("torch.compile"))


def test_a_missing_openvino_is_said(monkeypatch):
    hidden = lambda name: None if name == "openvino" else find_spec(name)  # noqa: E731
    monkeypatch.setattr("elastic.support.packages.find_spec", hidden)
    cure = r"OpenVINO needs openvino; install with: pip install 'elastic-supernets\[openvino\]'"
    with pytest.raises(PackageError, match=cure):
        check_setting(Setting("openvino"))


@pytest.mark.skipif(not find_spec("openvino"), reason=NEEDS["openvino"])
def test_what_openvino_has_run_leaves_signals_alone():
    """Child processes may end after some models have gone, as those of a data loader do."""
    program = """
import signal, subprocess, torch, warnings
from torch import nn
from elastic.timing.backends import prepare_all
from elastic.timing.setting import Setting

warnings.simplefilter("ignore")
runs = prepare_all([(nn.Linear(2, 2).eval(), [torch.ones(1, 2)]) for _ in range(3)], Setting("openvino"))
while runs:
    runs.pop(0)()
signal.signal(signal.SIGCHLD, lambda *_: None)
subprocess.run(["true"], check=True)
"""
    run_program(program)


def test_the_protocol_needs_no_pytorch():
    """A kit takes it to devices without."""
    program = """
import sys
sys.modules["torch"] = None
from elastic.timing.protocol import time_runs
assert time_runs([lambda: None], 0.0)[0].runs == 5
"""
    subprocess.run([sys.executable, "-c", program], check=True)

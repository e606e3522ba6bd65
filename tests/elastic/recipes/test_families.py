"""What must always hold, over every family: active = extracted, formula = counter, sorted = unsorted."""

import copy
import pickle

import pytest
import timm
import torch
from counting import macs_of, params_of
from examples import few, mostly_swept
from families import CASES, COUNTED, supernet
from forked import run_program
from hypothesis import given
from hypothesis import strategies as st
from small import randomise
from torch import nn

import elastic
from elastic.errors import LayoutError
from elastic.layout.sorting import is_sortable

families = pytest.mark.parametrize("name", CASES, scope="module")
counted = pytest.mark.parametrize("name", mostly_swept(CASES, COUNTED), scope="module")
seeds = st.integers(0, 2**32 - 1)
MATRICES = ("7to5_matrix", "5to3_matrix")


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return (one - other).abs().max().item()


def archs(made: elastic.Supernet, seed: int) -> list[elastic.Arch]:
    return [made.space.smallest, made.space.sample(seed)]


def assert_extracted_is_active(made: elastic.Supernet, arch: elastic.Arch, images: torch.Tensor) -> None:
    with made.active(arch):
        active, resized = made(images), made.resize(images)
    extracted = made.extract(arch)(resized)
    assert torch.isfinite(active).all()
    assert difference(active, extracted) == 0


@families
@torch.no_grad()
def test_full_size_is_the_original(name):
    case = CASES[name]
    original, made = case.model(), supernet(name)
    assert torch.equal(made(case.images()), original(case.images()))
    assert [key for key in made.model.state_dict() if not key.endswith(MATRICES)] == list(original.state_dict())


@families
@given(seed=seeds)
@few
@torch.no_grad()
def test_active_is_extracted(name, seed):
    made = supernet(name)
    for arch in archs(made, seed):
        assert_extracted_is_active(made, arch, CASES[name].images())


@counted
@given(seed=seeds)
@few
@torch.no_grad()
def test_counts_are_those_of_the_extracted_model(name, seed):
    made = supernet(name)
    chosen = archs(made, seed)
    params, macs = [], []
    for arch in chosen:
        subnet = made.extract(arch)
        params.append(params_of(subnet))
        macs.append(macs_of(subnet, torch.zeros(1, *made.input_shape(arch))))
    assert made.params(chosen).tolist() == params
    assert made.macs(chosen).tolist() == macs


@families
@torch.no_grad()
def test_sorting_leaves_the_full_network_as_it_was(name):
    made, images = copy.deepcopy(supernet(name)), CASES[name].images()
    before = made(images)
    generator = torch.Generator().manual_seed(2)
    sizes = [size for size in made.layout.sizes.values() if is_sortable(size, made.layout)]
    made.sort({size.name: torch.rand(size.full, generator=generator) for size in sizes})
    assert not all(map(torch.equal, made.model.parameters(), supernet(name).model.parameters()))
    assert difference(made(images), before) <= 1e-4 * before.abs().max().item()
    assert_extracted_is_active(made, made.space.sample(3), images)


@families
@torch.no_grad()
def test_extracted_model_is_an_ordinary_one(name):
    made, images = supernet(name), CASES[name].images()
    arch = made.space.variant({"resolution": CASES[name].side}, of=made.space.smallest)
    subnet = made.extract(arch)
    assert {type(module).__module__.partition(".")[0] for module in subnet.modules()} <= {"timm", "torch"}
    assert not any(key.endswith(MATRICES) for key in subnet.state_dict())
    wanted = subnet(images)
    assert torch.equal(pickle.loads(pickle.dumps(subnet))(images), wanted)
    other = randomise(copy.deepcopy(subnet), seed=5)
    assert not torch.equal(other(images), wanted)
    other.load_state_dict(subnet.state_dict())
    assert torch.equal(other(images), wanted)


@families
@torch.no_grad()
def test_extracted_model_states_its_own_widths(name):
    made, images = supernet(name), CASES[name].images()
    subnet = made.extract(made.space.variant({"resolution": CASES[name].side}, of=made.space.smallest))
    channels = -1 if name.startswith(("vit", "deit")) else 1
    assert subnet.forward_features(images).shape[channels] == subnet.num_features
    if "distilled" not in name:  # timm averages its two heads
        hidden = subnet.forward_head(subnet.forward_features(images), pre_logits=True)
        assert hidden.flatten(1).shape[1] == subnet.head_hidden_size
    subnet.reset_classifier(3)
    assert subnet(images).shape == (2, 3)


@torch.no_grad()
def test_extracted_models_run_where_this_library_is_not(tmp_path):
    names = ["resnet-d", "regnet-y", "mobilenet-v3 with matrices", "convnext-v2", "deit3"]
    subnets = {name: supernet(name).extract(supernet(name).space.smallest) for name in names}
    inputs = {name: torch.rand(1, *supernet(name).input_shape(supernet(name).space.smallest)) for name in names}
    outputs = {name: subnets[name](inputs[name]) for name in names}
    path = tmp_path / "subnets.pickle"
    path.write_bytes(pickle.dumps((subnets, inputs, outputs)))
    program = (
        "import pickle, sys, torch\n"
        "subnets, inputs, outputs = pickle.load(open(sys.argv[1], 'rb'))\n"
        "assert all(torch.equal(subnets[n](inputs[n]), outputs[n]) for n in subnets)"
    )
    run_program(program, str(path), alone=True)


def test_gradients_reach_the_kernel_matrices():
    made = CASES["mobilenet-v3 with matrices"].supernet()
    made.activate(made.space.variant({"kernel": 3}, of=made.space.smallest))
    made(CASES["mobilenet-v3 with matrices"].images()).sum().backward()
    assert made.model.blocks[1][0].conv_dw.kernel_size == (3, 3)
    reached = [p.grad is not None for key, p in made.model.named_parameters() if key.endswith(MATRICES)]
    assert any(reached)


@pytest.mark.parametrize(
    ("architecture", "recipe", "message"),
    [
        ("resnet50_gn", "resnet", r"resnet recipe can't narrow the GroupNorm at 'bn1': it normalises 32 fixed groups"),
        ("resnetv2_50x1_bit", "resnetv2", r"can't narrow the GroupNormAct at 'stages.0.blocks.0.norm1'"),
        ("res2net50_14w_8s", "resnet", r"blocks of type BasicBlock, Bottleneck; 'layer1.0' is a Bottle2neck"),
        ("mobilenetv4_conv_small_035", "efficientnet", r"'blocks.2.0' is a UniversalInvertedResidual"),
        ("efficientnet_x_b3", "efficientnet", r"doesn't know the Conv2dSame at 'blocks.0.0.conv_s2d'"),
        ("vit_base_patch32_siglip_256", "vit", r"doesn't know the AttentionPoolLatent at 'attn_pool'"),
        ("vit_tiny_r_s16_p8_224", "vit", r"doesn't know the HybridEmbed at 'patch_embed'"),
        ("mixnet_s", "efficientnet", r"doesn't know the MixedConv2d at 'blocks.1.0.conv_pw'"),
    ],
)
def test_what_a_recipe_cannot_carry_is_refused(architecture, recipe, message):
    with torch.device("meta"):
        model = timm.create_model(architecture, num_classes=2)
    before = list(model.state_dict())
    with pytest.raises(LayoutError, match=message):
        elastic.elasticize(model, recipe)
    assert not any("Elastic" in type(module).__name__ for module in model.modules())
    assert list(model.state_dict()) == before


def test_an_input_that_is_not_square_is_refused():
    model = timm.create_model("test_efficientnet", num_classes=2)
    with pytest.raises(LayoutError, match=r"needs a square input, this model takes 64 × 32"):
        elastic.elasticize(model, "efficientnet", input_size=(3, 64, 32))


def test_kernel_choices_stop_at_the_full_kernel():
    made = supernet("mobilenet-v3")
    kernels = {dim.choices for dim in made.space.dims if dim.kind == "kernel"}
    assert kernels == {(3, 5)}
    convnext = {dim.choices for dim in supernet("convnext").space.dims if dim.kind == "kernel"}
    assert convnext == {(3, 5, 7)}


def test_widths_are_multiples_of_eight():
    for name in CASES:
        for dim in supernet(name).space.dims:
            if dim.kind in {"width", "stem", "mid", "hidden", "embed", "head"}:
                assert not any(choice % 8 for choice in dim.choices[:-1]), dim


def test_every_module_of_a_stage_follows_its_width():
    made = supernet("resnet bottleneck")
    with made.active(made.space.variant({"width.2": made.space["width.2"].choices[0]})):
        stage = made.model.layer3
        widths = {block.conv3.out_channels for block in stage} | {stage[0].downsample[0].out_channels}
        assert widths == {stage[1].conv1.in_channels} == {made.model.layer4[0].conv1.in_channels}
    assert isinstance(made.model.layer3, nn.Sequential)

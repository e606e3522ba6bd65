"""What must always hold, over every family of transformers: as in test_families.py, on tokens."""

import copy
import itertools
import pickle

import pytest

pytest.importorskip("transformers")

import torch
import transformers
from counting import macs_of, memory_of, params_of
from examples import few, mostly_swept
from forked import run_program
from hypothesis import given
from hypothesis import strategies as st
from small import randomise
from text_families import CASES, DECODERS, ENCODERS, LENGTH, inputs, supernet

import elastic
from elastic.errors import LayoutError
from elastic.layout.sorting import is_sortable
from elastic.support.inputs import predict

families = pytest.mark.parametrize("name", CASES, scope="module")
attentions = pytest.mark.parametrize("attention", ["eager", "sdpa"])
OFTEN = (
    "bert", "dynabert", "roberta with tied decoder", "distilbert", "llama", "qwen3 with tied head",
)  # fmt: skip
COUNTED = mostly_swept(
    list(itertools.product(CASES, ["sdpa", "eager"])),
    [*itertools.product(OFTEN, ["sdpa"]), ("bert", "eager")],
)
seeds = st.integers(0, 2**32 - 1)
HANDED_ON = transformers.__version__ < "5"
"""Then an eager encoder's layer hands its attention weights on, whose heads are those of a layer that may be gone."""


def difference(one, other):
    return (one - other).abs().max().item()


def archs(made, seed):
    return [made.space.smallest, made.space.sample(seed)]


def assert_extracted_is_active(made, arch, given):
    with made.active(arch):
        active = predict(made, given)
    assert torch.isfinite(active).all()
    assert torch.equal(active, predict(made.extract(arch), given))


@families
@attentions
@torch.no_grad()
def test_full_size_is_the_original(name, attention):
    original, made = CASES[name].model(attention), supernet(name, attention)
    assert original.config._attn_implementation == (attention if original._supports_sdpa else "eager")
    for given_ in (inputs(), inputs()["input_ids"]):
        assert torch.equal(predict(made, given_), predict(original, given_))
    assert list(made.model.state_dict()) == list(original.state_dict())


@families
@attentions
@given(seed=seeds)
@few
@torch.no_grad()
def test_active_is_extracted(name, attention, seed):
    made = supernet(name, attention)
    for arch in archs(made, seed):
        assert_extracted_is_active(made, arch, inputs())


@pytest.mark.parametrize(("name", "attention"), COUNTED, scope="module")
@given(seed=seeds)
@few
@torch.no_grad()
def test_costs_are_those_of_the_extracted_model(name, attention, seed):
    made = supernet(name, attention)
    chosen = [*archs(made, seed), made.space.largest]
    subnets, x = [made.extract(arch) for arch in chosen], made.example_inputs(seed=0)
    assert made.params(chosen).tolist() == [params_of(subnet) for subnet in subnets]
    assert made.macs(chosen).tolist() == [macs_of(subnet, x) for subnet in subnets]
    if not HANDED_ON or name in DECODERS or made.model.config._attn_implementation == "sdpa":
        assert made.memory(chosen).tolist() == [memory_of(subnet, x) for subnet in subnets]


@families
@torch.no_grad()
def test_sorting_leaves_the_full_network_as_it_was(name):
    made, untouched = (copy.deepcopy(supernet(name)).double() for _ in range(2))
    before, generator = predict(made, inputs()), torch.Generator().manual_seed(2)
    sizes = [size for size in made.layout.sizes.values() if is_sortable(size, made.layout)]
    made.sort({size.name: torch.rand(size.full, generator=generator) for size in sizes})
    assert not all(map(torch.equal, made.model.parameters(), untouched.model.parameters()))
    assert difference(predict(made, inputs()), before) <= 1e-6
    assert_extracted_is_active(made, made.space.sample(3), inputs())


@families
@torch.no_grad()
def test_extracted_model_is_an_ordinary_one(name):
    made = supernet(name)
    subnet = made.extract(made.space.smallest)
    assert {type(module).__module__.partition(".")[0] for module in subnet.modules()} <= {"transformers", "torch"}
    wanted = predict(subnet, inputs())
    for other in (copy.deepcopy(subnet), pickle.loads(pickle.dumps(subnet))):
        assert torch.equal(predict(other, inputs()), wanted)
    other = randomise(copy.deepcopy(subnet), seed=5)
    assert not torch.equal(predict(other, inputs()), wanted)
    other.load_state_dict(subnet.state_dict())
    assert torch.equal(predict(other, inputs()), wanted)


@families
@torch.no_grad()
def test_supernets_can_be_copied_and_pickled(name):
    made, arch = supernet(name), supernet(name).space.sample(4)
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        other.activate(arch)
        assert torch.equal(predict(other, inputs()), predict(made.extract(arch), inputs()))


@families
@torch.no_grad()
def test_hidden_states_and_embedded_inputs(name):
    made = copy.deepcopy(supernet(name))
    arch = made.space.sample(5)
    subnet, layers = made.extract(arch), arch.get("depth", 4)
    with made.active(arch):
        states = [net(**inputs(), output_hidden_states=True).hidden_states for net in (made, subnet)]
        embedded = {"inputs_embeds": subnet.get_input_embeddings()(inputs()["input_ids"])}
        if not name.startswith("qwen3"):  # a sequence's last word isn't found without its ids
            assert torch.equal(predict(made, embedded), predict(subnet, embedded))
    assert len(states[0]) == len(states[1]) == layers + 1
    assert all(map(torch.equal, *states))


@families
def test_extracted_configuration_says_what_it_is(name):
    made = supernet(name)
    arch = made.space.smallest
    subnet = made.extract(arch)
    assert subnet.config.num_hidden_layers == arch.get("depth", 4)
    assert made.model.config.num_hidden_layers == 4
    indices = [m.layer_idx for m in subnet.modules() if hasattr(m, "layer_idx") and hasattr(m, "scaling")]
    assert indices in ([], list(range(arch.get("depth", 4))))
    width = getattr(subnet.config, "hidden_dim", None) or subnet.config.intermediate_size
    assert width == arch.get("hidden.0", min(made.layout.lengths("hidden.0", {"heads.0": [1]})))
    if name in DECODERS:
        attention = subnet.get_submodule("model.layers.0" if hasattr(subnet, "model") else "layers.0").self_attn
        assert subnet.config.num_key_value_heads * attention.head_dim == attention.k_proj.out_features
        assert subnet.config.num_attention_heads * attention.head_dim == attention.q_proj.out_features


@pytest.mark.parametrize("name", [name for name, case in DECODERS.items() if case.architecture.endswith("CausalLM")])
@attentions
@torch.no_grad()
def test_generating_with_a_cache(name, attention):
    made = supernet(name, attention)
    arch = made.space.variant({"depth": 2} if "depth" in made.space.names else {}, of=made.space.sample(6))
    prompt = {"input_ids": inputs()["input_ids"][1:], "attention_mask": inputs()["attention_mask"][1:]}
    how = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None, "pad_token_id": 1}
    subnet = made.extract(arch)
    with made.active(arch):
        active = made.model.generate(**prompt, **how)
    assert torch.equal(active, subnet.generate(**prompt, **how))
    assert torch.equal(active, subnet.generate(**prompt, **how, use_cache=False))


@torch.no_grad()
def test_extracted_models_run_where_this_library_is_not(tmp_path):
    names = ["bert", "roberta with tied decoder", "distilbert", "electra", "llama", "qwen3"]
    subnets = {name: supernet(name).extract(supernet(name).space.smallest) for name in names}
    outputs = {name: predict(subnet, inputs()) for name, subnet in subnets.items()}
    path = tmp_path / "subnets.pickle"
    path.write_bytes(pickle.dumps((subnets, inputs(), outputs)))
    program = (
        "import pickle, sys, torch\n"
        "subnets, inputs, outputs = pickle.load(open(sys.argv[1], 'rb'))\n"
        "for name, subnet in subnets.items():\n"
        "    assert torch.equal(getattr(subnet(**inputs), 'logits'), outputs[name])"
    )
    run_program(program, str(path), alone=True)


def test_dynabert_has_its_twelve_subnets():
    with torch.device("meta"):
        model = transformers.BertForSequenceClassification(transformers.BertConfig())
    space = elastic.elasticize(model, recipe="dynabert").space
    assert space.size == 12
    assert {dim.name: dim.choices for dim in space.dims} == {"heads.0": (3, 6, 9, 12), "depth": (6, 9, 12)}
    free = elastic.elasticize(transformers.BertModel(ENCODERS["bert"].model().config)).space
    assert free.size == 16**4 + 16**3 + 16**2


def test_a_single_head_leaves_the_width_to_the_feed_forward_layers():
    model = transformers.BertModel(transformers.BertConfig(**ENCODERS["bert"].config | {"num_attention_heads": 1}))
    assert elastic.elasticize(model, recipe="dynabert").space.names == ("depth", "hidden.0")


def test_length_that_costs_are_counted_on():
    assert supernet("bert").input_shape() == (LENGTH,)
    roberta = ENCODERS["roberta"]
    assert elastic.elasticize(roberta.model()).input_shape() == (30,)
    config = ENCODERS["bert"].config | {"max_position_embeddings": 512}
    assert elastic.elasticize(transformers.BertModel(transformers.BertConfig(**config))).input_shape() == (128,)
    with pytest.raises(LayoutError, match=r"length=31: this Roberta\w+ takes 1 to 30 tokens"):
        elastic.elasticize(roberta.model(), length=31)


def test_layers_of_several_types_keep_their_depth():
    made = supernet("qwen2 of two types")
    assert "depth" not in made.space.names
    assert "several types" in made.recipe.notes["depth"]


@pytest.mark.parametrize(
    ("architecture", "fields", "message"),
    [
        ("BertLMHeadModel", {"is_decoder": True}, r"this BertLMHeadModel is a decoder; make it with is_decoder=False"),
        ("BertModel", {"is_decoder": True, "add_cross_attention": True}, r"is a decoder"),
        ("ElectraModel", {"num_attention_heads": 5}, r"5 heads don't divide the hidden size 32"),
        ("LlamaModel", {"num_key_value_heads": 3}, r"3 key-value heads don't divide the 8 query heads"),
    ],
)
def test_what_a_recipe_cannot_carry_is_refused(architecture, fields, message):
    builder = getattr(transformers, architecture)
    family = "llama" if architecture.startswith("Llama") else "bert"
    with torch.device("meta"):
        model = builder(builder.config_class(**CASES[family].config | fields))
    with pytest.raises(LayoutError, match=message):
        elastic.elasticize(model, recipe=family)

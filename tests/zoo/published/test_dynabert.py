"""DynaBERT's encoding, and its twelve subnets against a slow, obvious implementation of the paper."""

import itertools
import math

import pytest

pytest.importorskip("transformers")

import torch
import transformers
from small import randomise
from torch.nn import functional as F

import elastic
import zoo
from elastic.errors import ArchError

WIDTHS, DEPTHS = (0.25, 0.5, 0.75, 1.0), (0.5, 0.75, 1.0)
LAYERS, HEADS, HEAD, NEURONS = 12, 12, 4, 96


def bert():
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=HEADS * HEAD,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=NEURONS,
        max_position_embeddings=16,
        num_labels=3,
    )
    return randomise(transformers.BertForSequenceClassification(config))


def published_bert(weights, width, depth, ids, mask):
    """Logits and hidden states as the paper says: the first heads and neurons, and evenly spread layers."""
    heads, neurons = round(width * HEADS), int(round(HEADS * width) / HEADS * NEURONS)
    kept = heads * HEAD

    def linear(x, name, rows=None, columns=None):
        return x @ weights[f"{name}.weight"][:rows, :columns].T + weights[f"{name}.bias"][:rows]

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-12)

    embeddings = [weights[f"bert.embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type")]
    x = embeddings[0][ids] + embeddings[1][: ids.shape[1]] + embeddings[2][0]
    states = [x := norm(x, "bert.embeddings.LayerNorm")]
    for layer in [math.floor(i / depth) for i in range(round(depth * LAYERS))]:
        here = f"bert.encoder.layer.{layer}"
        context = []
        q, k, v = (linear(x, f"{here}.attention.self.{kind}", kept) for kind in ("query", "key", "value"))
        for head in range(heads):
            part = slice(head * HEAD, (head + 1) * HEAD)
            scores = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(HEAD)
            scores = scores.masked_fill(mask[:, None, :] == 0, -math.inf)
            context.append(scores.softmax(-1) @ v[..., part])
        attended = linear(torch.cat(context, -1), f"{here}.attention.output.dense", None, kept)
        x = norm(x + attended, f"{here}.attention.output.LayerNorm")
        inside = F.gelu(linear(x, f"{here}.intermediate.dense", neurons))
        x = norm(x + linear(inside, f"{here}.output.dense", None, neurons), f"{here}.output.LayerNorm")
        states.append(x)
    pooled = torch.tanh(linear(x[:, 0], "bert.pooler.dense"))
    return linear(pooled, "classifier"), states


@pytest.mark.parametrize("recipe", ["dynabert", "bert"])
@torch.no_grad()
def test_the_published_subnets_compute_what_the_paper_says(recipe):
    plain = bert()
    weights = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    supernet = elastic.elasticize(plain, recipe)
    ids = torch.randint(0, 50, (3, 10), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    found = set()
    for width, depth in itertools.product(WIDTHS, DEPTHS):
        arch = zoo.to_arch(supernet, {"width": width, "depth": depth})
        found.add(arch)
        assert zoo.from_arch(supernet, arch) == {"width": width, "depth": depth}
        logits, states = published_bert(weights, width, depth, ids, mask)
        with supernet.active(arch):
            active = supernet(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        torch.testing.assert_close(active.logits, logits, rtol=0, atol=1e-5)
        seen = mask.bool()
        for ours, theirs in zip(active.hidden_states, states, strict=True):
            torch.testing.assert_close(ours[seen], theirs[seen], rtol=0, atol=1e-5)
    assert len(found) == 12
    if recipe == "dynabert":
        assert found == set(supernet.space.decode(supernet.space.sample_rows(0, 500)))


def test_sizes_are_those_of_the_published_model():
    with torch.device("meta"):
        supernet = elastic.elasticize(transformers.BertModel(transformers.BertConfig()))
    arch = zoo.to_arch(supernet, {"width": 0.75, "depth": 0.75})
    assert {name.split(".")[1] for name in arch if name != "depth"} == {"0", "1", "2", "4", "5", "6", "8", "9", "10"}
    assert {value for name, value in arch.items() if name.startswith("heads")} == {9}
    assert {value for name, value in arch.items() if name.startswith("hidden")} == {2304}


@pytest.mark.parametrize(
    ("published", "message"),
    [
        ({"width": 0.75}, r"has width and depth, such as 0.75 and 0.5; got {'width': 0.75}"),
        ({"width": 0.75, "depth": 0.5, "r": 224}, r"has width and depth"),
        ({"width": 1.5, "depth": 0.5}, r"width = 1.5 is no part of the full model; wanted a number above 0"),
        ({"width": "half", "depth": 0.5}, r"width = 'half' is no part"),
        ({"width": 0.6, "depth": 0.5}, r"heads.0 = 8 isn't on offer; choose one of \[3, 6, 9, 12\]"),
    ],
)
def test_wrong_encodings_are_refused(published, message):
    with pytest.raises(ArchError, match=message):
        zoo.to_arch(elastic.elasticize(bert(), "dynabert"), published)


def test_a_decoder_has_no_published_encoding():
    config = transformers.LlamaConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=32,
    )  # fmt: skip
    supernet = elastic.elasticize(transformers.LlamaForCausalLM(config))
    with pytest.raises(ArchError, match="no published encoding"):
        zoo.from_arch(supernet, supernet.space.largest)
    with pytest.raises(ArchError, match="no published encoding"):
        zoo.to_arch(supernet, {"width": 0.5, "depth": 1.0})


def test_layers_of_different_widths_have_no_encoding():
    supernet = elastic.elasticize(bert())
    with pytest.raises(ArchError, match="one width for all layers and one depth"):
        zoo.from_arch(supernet, supernet.space.variant({"heads.3": 3}))


def test_encoding_of_a_narrowed_choice():
    supernet = elastic.elasticize(bert(), "dynabert", choices={"depth": [6, 12], "heads": [6, 12], "hidden": [48, 96]})
    assert zoo.from_arch(supernet, supernet.space.smallest) == {"width": 0.5, "depth": 0.5}

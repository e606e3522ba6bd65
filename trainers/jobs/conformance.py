"""Conformance: the elastic sizes of timm's and transformers' architectures, and their exactness.

Every weight is drawn at random first: freshly made models have ones and zeros that hide a wrong slice.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.table import Column, Table
from torch import Tensor, nn

from elastic.errors import ElasticError
from elastic.supernet.elasticize import elasticize
from elastic.supernet.registry import find_supernet, supernet_names
from elastic.supernet.source import SupernetSource
from elastic.supernet.supernet import Supernet
from elastic.support.inputs import predict
from elastic.testing import maskable, masked, randomised
from elastic.upstream import library_of
from elastic.upstream.building import PREFIX, is_timm_model, language_model_arguments, unknown_model

ARCHITECTURES = (
    "resnet18", "resnet50", "resnet50_gn", "resnext50_32x4d", "seresnet50", "res2net50_26w_4s", "resnetv2_50",
    "resnetv2_50x1_bit", "nf_resnet50", "regnety_016", "regnetx_016", "mobilenetv2_100", "mobilenetv3_large_100",
    "mobilenetv4_conv_small", "mobilenetv4_hybrid_medium", "efficientnet_b0", "tf_efficientnetv2_b0", "mnasnet_100",
    "mixnet_s", "ghostnet_100", "rexnet_100", "convnext_tiny", "convnextv2_nano", "densenet121", "vgg11_bn", "dla34",
    "hrnet_w18_small", "cspresnet50", "cspdarknet53", "hgnetv2_b0", "repvgg_a0", "repvit_m1", "fastvit_t8",
    "starnet_s1", "nfnet_l0", "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "deit3_small_patch16_224",
    "vit_small_patch14_reg4_dinov2", "beit_base_patch16_224", "eva02_tiny_patch14_224",
    "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "swin_s3_tiny_224", "mixer_s32_224", "resmlp_12_224",
    "gmlp_s16_224", "pvt_v2_b0", "poolformer_s12", "caformer_s18", "convformer_s18", "efficientformer_l1",
    "efficientformerv2_s0", "levit_128s", "mobilevit_s", "mobilevitv2_050", "edgenext_small", "maxvit_tiny_rw_224",
    "coatnet_nano_rw_224", "cait_xxs24_224", "xcit_tiny_12_p16_224", "twins_svt_small", "visformer_tiny",
    "pit_ti_224",
)  # fmt: skip
"""Of every family of timm one or two, small ones."""

TRANSFORMERS = tuple(f"{PREFIX}{own}" for own in (
    "albert", "bart", "bert", "big_bird", "biogpt", "bloom", "camembert", "cohere", "convbert", "ctrl",
    "data2vec-text", "deberta", "deberta-v2", "distilbert", "electra", "ernie", "falcon", "fnet", "gemma", "gemma2",
    "gemma3_text", "glm", "gpt2", "gpt_bigcode", "gpt_neox", "granite", "layoutlm", "llama", "longformer",
    "mamba", "megatron-bert", "mistral", "mixtral", "modernbert", "mpnet", "mpt", "nystromformer", "olmo", "olmo2",
    "openai-gpt", "opt", "persimmon", "phi", "phi3", "qwen2", "qwen3", "rembert", "roberta", "roformer", "rwkv",
    "smollm3", "stablelm", "starcoder2", "xglm", "xlm-roberta", "yoso",
))  # fmt: skip
"""Types of transformers that one small configuration fits, as language models."""

_SMALL = {
    "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 200,
    "max_position_embeddings": 64, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip
_TOKENS = 16
_ROUNDING = 1e-3
"""Less is the rounding of sums in another order, as a share of the largest value; wrong slices differ by more.

Where blocks multiply activations, rounding can be more in float32, and images are compared in float64.
"""


@dataclass(frozen=True)
class Conformance:
    """Result of making an architecture elastic.

    Attributes:
        name: timm's, or transformers' behind `transformers:`.
        recipe: the recipe's name; empty where the architecture can't be made elastic.
        kinds: the kinds of dims; "width" for whatever stage widths, embeddings and widths inside blocks there are.
        ratio: parameters of the smallest subnet, as a share of the largest's.
        full_difference: largest difference between the supernet's output at full size and the original's.
        difference: the same between active and extracted subnets.
        masked: the same between subnets and the full network with zeros for what they leave out, as a share of the
            largest value (see `elastic.testing.maskable`); rounding gives less than 0.001. None if nothing is maskable.
        counted: whether parameters and multiply-accumulates are known as formulas.
        seconds: that making it elastic took.
        problem: why it can't be made elastic.
    """

    name: str
    recipe: str = ""
    kinds: frozenset[str] = frozenset()
    ratio: float = 1.0
    full_difference: float = 0.0
    difference: float = 0.0
    masked: float | None = None
    counted: bool = False
    seconds: float = 0.0
    problem: str = ""

    @property
    def exact(self) -> bool:
        """Whether it is elastic, both differences are 0, and what is sliced is what is masked."""
        return not self.problem and self.full_difference == self.difference == 0 and (self.masked or 0) < _ROUNDING


def conform(name: str, subnets: int = 2) -> Conformance:
    """Make an architecture elastic, and compare.

    Args:
        name: as for `timm.create_model`; or `transformers:TYPE`, of which a small language model is made.
        subnets: how many to compare: the smallest, and random ones.
    """
    with torch.random.fork_rng(devices=[]):
        model = randomised(SupernetSource(name, _arguments(name)).build_model())
    inputs = _inputs(name, model)
    with torch.no_grad():
        wanted, keys = predict(model, inputs), list(model.state_dict())
        start = time.perf_counter()
        try:
            supernet = elasticize(model)
        except ElasticError as error:
            return Conformance(name, problem=str(error))
        seconds = time.perf_counter() - start
        full = _difference(predict(supernet, inputs), wanted) if list(model.state_dict()) == keys else float("inf")
        difference = max(_active_and_extracted(supernet, inputs, seed) for seed in range(subnets))
        whole = [_sliced_and_masked(supernet, inputs, seed) for seed in range(subnets)]
    worst = max((one for one in whole if one is not None), default=None)
    params = supernet.params([supernet.space.smallest, supernet.space.largest])
    ratio = float(params[0] / params[1])
    recipe, kinds, counted = supernet.recipe.name, _kinds(supernet), _counted(supernet)
    return Conformance(name, recipe, kinds, ratio, full, difference, worst, counted, seconds)


def check_architectures(names: Iterable[str]) -> None:
    """Check that architectures exist, before the first is made.

    Args:
        names: as for `conform`.

    Raises:
        PackageError: transformers isn't installed, and one is for it.
        RecipeError: one doesn't exist.
    """
    for name in names:
        if name.startswith(PREFIX):
            language_model_arguments(name, {})
        elif not is_timm_model(name) and find_supernet(name) is None:
            raise unknown_model(name, supernet_names())


def _arguments(name: str) -> dict[str, Any]:
    if not name.startswith(PREFIX):
        return {"num_classes": 10}
    return language_model_arguments(name, _SMALL)


def _inputs(name: str, model: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    if name.startswith(PREFIX):
        return torch.randint(3, _SMALL["vocab_size"], (1, _TOKENS), generator=generator)
    return torch.randn(1, *library_of(model).image_size, generator=generator)


def _active_and_extracted(supernet: Supernet, inputs: Tensor, seed: int) -> float:
    arch = supernet.space.sample(seed) if seed else supernet.space.smallest
    with supernet.active(arch):
        return _difference(predict(supernet, inputs), predict(supernet.extract(arch), supernet.resize(inputs)))


def _sliced_and_masked(supernet: Supernet, inputs: Tensor, seed: int) -> float | None:
    arch = maskable(supernet, supernet.space.sample(seed) if seed else supernet.space.smallest)
    if arch == supernet.space.largest:
        return None
    sliced, whole = supernet.extract(arch), masked(supernet, arch)
    share = _share(predict(sliced, inputs), predict(whole, inputs))
    if share < _ROUNDING or not inputs.is_floating_point():
        return share
    return _share(predict(sliced.double(), inputs.double()), predict(whole.double(), inputs.double()))


def _share(one: Tensor, other: Tensor) -> float:
    return _difference(one, other) / float(one.abs().max())


def _difference(one: Tensor, other: Tensor) -> float:
    """The largest one; infinite where something isn't finite, or shapes differ."""
    if one.shape != other.shape or not (one.isfinite().all() and other.isfinite().all()):
        return float("inf")
    return float((one - other).abs().max())


def _kinds(supernet: Supernet) -> frozenset[str]:
    kinds = {dim.kind for dim in supernet.space.dims}
    if "queries" in kinds:  # of heads that share keys and values in groups
        kinds = kinds - {"groups", "queries"} | {"heads"}
    known = {"depth", "heads", "kernel", "resolution"}
    found = kinds & known | ({"width"} if kinds - known else set())
    return frozenset(found | ({"embedding"} if "embed" in kinds or _embeds_by_heads(supernet) else set()))


def _embeds_by_heads(supernet: Supernet) -> bool:
    """Whether the embedding's width is tied to the number of heads, as by code that takes one width for the other.

    The embedding is what embedding tables hold, and what the model's last layer reads.
    """
    weighted = [path for path, module in supernet.model.named_modules() if [*module.parameters(recurse=False)]]
    tables = {path for path, module in supernet.model.named_modules() if isinstance(module, nn.Embedding)}
    rules = supernet.layout.rules
    return any(_has(rule, "heads") for path in tables | {*weighted[-1:]} for rule in rules.get(path, {}).values())


def _has(rule: object, kind: str) -> bool:
    axes = getattr(rule, "axes", None)
    return any(size.name.split(".")[0] == kind for size in getattr(axes, "sizes", ()))


def _counted(supernet: Supernet) -> bool:
    try:
        supernet.macs([supernet.space.smallest])
    except ElasticError:
        return False
    return True


# --- as tables ----------------------------------------------------------------------------------------------------

_COLUMNS = ("width", "depth", "heads", "embedding", "kernel", "resolution")
_HEADINGS = (
    "architecture",
    "recipe",
    *_COLUMNS,
    "smallest / largest",
    "full size",
    "extracted",
    "masked",
    "MACs",
    "seconds",
)


def cells(found: Conformance) -> list[str]:
    """A row of the table."""
    if found.problem:
        return [found.name, "–", *[""] * len(_COLUMNS), "", "", "", "", "", found.problem]
    marks = ["✓" if kind in found.kinds else "–" for kind in _COLUMNS]
    exact = [f"{found.full_difference:.2g}", f"{found.difference:.2g}", _masked(found), "✓" if found.counted else "–"]
    return [found.name, found.recipe, *marks, f"{100 * found.ratio:.0f} %", *exact, f"{found.seconds:.1f}"]


def _masked(found: Conformance) -> str:
    if found.masked is None:
        return "–"
    return "✓" if found.masked < _ROUNDING else f"{found.masked:.2g}"


def table(rows: Iterable[Conformance]) -> Table:
    """For the terminal."""
    made = Table(Column("architecture", no_wrap=True), "recipe", "elastic", "smallest / largest", "exact", "seconds")
    for row in rows:
        if row.problem:
            made.add_row(row.name, "–", row.problem)
            continue
        exact = "✓" if row.exact else f"{row.full_difference:.2g}, {row.difference:.2g}, masked {_masked(row)}"
        elastic = ", ".join(kind for kind in _COLUMNS if kind in row.kinds)
        made.add_row(row.name, row.recipe, elastic, f"{100 * row.ratio:.0f} %", exact, f"{row.seconds:.1f}")
    return made


def markdown(rows: Sequence[Conformance]) -> str:
    """For a page, with what they have in common below."""
    lines = [f"| {' | '.join(words)} |" for words in (_HEADINGS, *map(cells, rows))]
    return "\n".join([lines[0], f"|{'---|' * len(_HEADINGS)}", *lines[1:], "", summary(rows)])


def summary(rows: Sequence[Conformance]) -> str:
    """A sentence with the numbers of architectures that convert and are exact."""
    both = sum({"width", "depth"} <= row.kinds for row in rows)
    small = sum(row.ratio <= 0.25 for row in rows)
    exact = sum(row.exact for row in rows)
    made = sum(not row.problem for row in rows)
    return (
        f"Of {len(rows)} architectures {made} convert, {both} with width and depth; in {small} the smallest subnet has "
        f"at most a quarter of the largest's parameters; {exact} are exact."
    )

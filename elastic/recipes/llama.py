"""Decoders of transformers: Llama, Mistral, Qwen2 and Qwen3, with any head on top.

Elastic: feed-forward width, key-value groups and query heads per group of each layer, depth. Feed-forward widths are
MatFormer's nested parts (Devvrit et al., NeurIPS 2024, arXiv:2310.07707). Embeddings, hidden size and norms stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from elastic.errors import LayoutError
from elastic.layout.recipe import Recipe, register_recipe
from elastic.layout.saved import register_code
from elastic.space.sizes import DimRule
from elastic.upstream import library_of
from elastic.upstream.families import FAMILIES
from elastic.upstream.transformers import prefix_of, shared_value

if TYPE_CHECKING:
    from elastic.upstream.families import PreTrainedModel


@register_recipe("llama", *FAMILIES["llama"])
def llama(model: PreTrainedModel, length: int | None = None) -> Recipe:
    """Recipe for decoders of transformers whose query heads share keys and values in groups.

    Args:
        model: the decoder, bare or with any head.
        length: number of tokens that costs are counted on; 128 by default, or fewer if the model takes fewer.

    Raises:
        LayoutError: query heads that don't fill their key-value groups evenly, or a length that the model doesn't take.
    """
    config, name = model.config, type(model).__name__
    if config.num_attention_heads % config.num_key_value_heads:
        raise LayoutError(
            f"the llama recipe needs groups of equal size: {config.num_key_value_heads} key-value heads don't divide "
            f"the {config.num_attention_heads} query heads of this {name}; choose a number that does"
        )
    layers = _layers_path(model)
    head = model.get_submodule(f"{layers}.0.self_attn").head_dim
    queries = f"(groups.{{i}} queries.{{i}} {head})"
    layout = {
        "self_attn.q_proj": f"{queries} _",
        "self_attn.k_proj": f"(groups.{{i}} {head}) _",
        "self_attn.v_proj": f"(groups.{{i}} {head}) _",
        "self_attn.o_proj": f"_ {queries}",
        "self_attn.num_key_value_groups": "queries.{i}",  # transformers' name for query heads per key-value head
        "mlp.gate_proj": "hidden.{i} _",
        "mlp.up_proj": "hidden.{i} _",
        "mlp.down_proj": "_ hidden.{i}",
        "mlp.intermediate_size": "hidden.{i}",
    }
    mixed = len(set(getattr(config, "layer_types", None) or [None])) > 1
    return Recipe(
        layout={f"{layers}.{{i}}.{path}": axes for path, axes in layout.items()} | ({} if mixed else {layers: "depth"}),
        dims={
            "hidden": DimRule((0.125, 0.25, 0.5, 1.0), multiple=8),
            "groups": DimRule((0.5, 1.0)),
            "queries": DimRule((0.5, 1.0)),
            "depth": DimRule((0.5, 0.75, 1.0), keep="spread"),
        },
        input_size=(library_of(model).text_length(length),),
        vocabulary=library_of(model).vocabulary,
        settle=LlamaSettings(),
        notes={
            "head width": f"{head} per head",
            "hidden size": f"{config.hidden_size}: every layer adds to it",
            **({"depth": "layers of several types take turns, by their place"} if mixed else {}),
        },
    )


@register_code("llama_settings")
@dataclass(frozen=True)
class LlamaSettings:
    """Restates the sizes of an extracted model in its configuration."""

    def __call__(self, model: nn.Module) -> None:
        """Restate the model's sizes in its configuration, as far as that can say them, and number its layers."""
        config: Any = model.config
        layers: Any = model.get_submodule(_layers_path(model))
        library_of(model).set_depth(layers)
        attention = [layer.self_attn for layer in layers]
        config.head_dim = attention[0].head_dim  # no longer the hidden size over the heads
        config.intermediate_size = shared_value(
            [layer.mlp.gate_proj.out_features for layer in layers], config.intermediate_size
        )
        shapes = [
            (one.q_proj.out_features // one.head_dim, one.k_proj.out_features // one.head_dim) for one in attention
        ]
        if len(set(shapes)) == 1:  # only together do they make sense
            config.num_attention_heads, config.num_key_value_heads = shapes[0]


def _layers_path(model: Any) -> str:
    """Path of the layers, in the bare model or in a model with a head."""
    return f"{prefix_of(model)}layers"

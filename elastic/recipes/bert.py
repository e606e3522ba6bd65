"""Encoders of transformers: BERT, RoBERTa, ELECTRA and DistilBERT, with any head on top.

Elastic: heads and feed-forward width of each layer, depth. Embeddings, hidden size, LayerNorms, pooler and classifier
stay. `"dynabert"` is the same with DynaBERT's choices and one width for all layers (Hou et al., NeurIPS 2020,
arXiv:2004.04037).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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

_BERT = {
    "attention.self.query": "(heads.{i} HEAD) _",
    "attention.self.key": "(heads.{i} HEAD) _",
    "attention.self.value": "(heads.{i} HEAD) _",
    "attention.self.num_attention_heads": "heads.{i}",
    "attention.self.all_head_size": "(heads.{i} HEAD)",
    "attention.output.dense": "_ (heads.{i} HEAD)",
    "intermediate.dense": "hidden.{i} _",
    "output.dense": "_ hidden.{i}",
}
_DISTILBERT = {
    "attention.q_lin": "(heads.{i} HEAD) _",
    "attention.k_lin": "(heads.{i} HEAD) _",
    "attention.v_lin": "(heads.{i} HEAD) _",
    "attention.n_heads": "heads.{i}",
    "attention.dim": "(heads.{i} HEAD)",
    "attention.out_lin": "_ (heads.{i} HEAD)",
    "ffn.lin1": "hidden.{i} _",
    "ffn.lin2": "_ hidden.{i}",
}
WIDTHS, DEPTHS = (0.25, 0.5, 0.75, 1.0), (0.5, 0.75, 1.0)
"""DynaBERT's choices, as fractions of the full model."""


@register_recipe("bert", *FAMILIES["bert"])
def bert(model: PreTrainedModel, length: int | None = None) -> Recipe:
    """Recipe for encoders of transformers, free per layer.

    Args:
        model: the encoder, bare or with any head.
        length: number of tokens that costs are counted on; 128 by default, or fewer if the model takes fewer.

    Raises:
        LayoutError: a decoder, heads that don't share the hidden size evenly, or a length that the model doesn't take.
    """
    config = model.config
    _check(model)
    layers = _layers_path(model)
    head = str(config.hidden_size // config.num_attention_heads)
    spelling = _DISTILBERT if config.model_type == "distilbert" else _BERT
    layout = {f"{layers}.{{i}}.{path}": axes.replace("HEAD", head) for path, axes in spelling.items()}
    return Recipe(
        layout={layers: "depth", **layout},
        dims={
            "heads": DimRule(WIDTHS),
            "hidden": DimRule(WIDTHS, multiple=8),
            "depth": DimRule(DEPTHS, keep="spread"),
        },
        input_size=(library_of(model).text_length(length),),
        vocabulary=library_of(model).vocabulary,
        settle=BertSettings(),
        notes={"head width": f"{head} per head", "hidden size": f"{config.hidden_size}: every layer adds to it"},
    )


@register_recipe("dynabert")
def dynabert(model: PreTrainedModel, length: int | None = None) -> Recipe:
    """Recipe with DynaBERT's 12 subnets: four widths, the same in every layer, and three depths.

    Args:
        model: as for `bert`.
        length: as for `bert`.

    Raises:
        LayoutError: as for `bert`.
    """
    free = bert(model, length)
    config = model.config
    leader = "heads.0" if config.num_attention_heads > 1 else "hidden.0"
    followers = [f"{kind}.{layer}" for kind in ("heads", "hidden") for layer in range(config.num_hidden_layers)]
    if leader == "hidden.0":
        followers = [name for name in followers if name.startswith("hidden")]
    followers.remove(leader)
    dims = {**free.dims, "hidden": DimRule(WIDTHS)}
    return replace(free, dims=dims, couple=dict.fromkeys(followers, leader))


@register_code("bert_settings")
@dataclass(frozen=True)
class BertSettings:
    """Restates the sizes of an extracted model in its configuration."""

    def __call__(self, model: nn.Module) -> None:
        """Restate an extracted model's sizes in its configuration, as far as that can say them, and number its layers.

        BERT's configuration has no number of heads apart from the hidden size; each attention module knows its own.
        """
        config: Any = model.config
        layers: Any = model.get_submodule(_layers_path(model))
        library_of(model).set_depth(layers)
        widths = [layer.ffn.lin1 if hasattr(layer, "ffn") else layer.intermediate.dense for layer in layers]
        name = "hidden_dim" if hasattr(config, "hidden_dim") else "intermediate_size"
        setattr(config, name, shared_value([linear.out_features for linear in widths], getattr(config, name)))


def _layers_path(model: Any) -> str:
    """Path of the layers, in the bare model or in a model with a head."""
    stack = "transformer" if model.config.model_type == "distilbert" else "encoder"
    return f"{prefix_of(model)}{stack}.layer"


def _check(model: Any) -> None:
    config, name = model.config, type(model).__name__
    if getattr(config, "is_decoder", False) or getattr(config, "add_cross_attention", False):
        raise LayoutError(
            f"the bert recipe is for encoders, this {name} is a decoder; make it with is_decoder=False and "
            "add_cross_attention=False"
        )
    if config.hidden_size % config.num_attention_heads:
        raise LayoutError(
            f"the bert recipe needs heads of equal width: {config.num_attention_heads} heads don't divide the hidden "
            f"size {config.hidden_size} of this {name}; choose a number that does"
        )

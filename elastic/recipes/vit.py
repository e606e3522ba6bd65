"""Vision transformers of timm: ViT, DeiT and DeiT-3, with every part they may have.

Elastic: embedding width, heads and feed-forward width of each block, depth, resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn

from elastic.errors import LayoutError
from elastic.layout.recipe import Recipe, register_recipe
from elastic.layout.saved import register_code
from elastic.recipes.resolution import resolution_rule
from elastic.space.sizes import Derived, DimRule
from elastic.upstream import library_of
from elastic.upstream.families import FAMILIES
from elastic.upstream.timm import class_name, is_patch_embedding, resample_positions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elastic.upstream.families import VisionTransformer


@register_code("resampled_positions")
@dataclass(frozen=True)
class ResampledPositions:
    """Position embeddings at the active resolution, resampled exactly as timm does."""

    prefix_tokens: int

    def __call__(self, tensor: Tensor, module: nn.Module) -> Tensor:
        """Embeddings `(1, tokens, embed)` for the module's active grid."""
        grid = cast("tuple[int, int]", module.patch_embed.grid_size)  # type: ignore[union-attr]
        return resample_positions(tensor, grid, self.prefix_tokens)

    def setup(self, module: nn.Module) -> None:
        """Nothing to register."""

    def parameter_names(self) -> tuple[str, ...]:
        """None."""
        return ()


@register_recipe("vit", *FAMILIES["vit"])
def vit(model: VisionTransformer, resolutions: Sequence[int] | None = None) -> Recipe:
    """Recipe for timm's `VisionTransformer` and its distilled variant.

    Args:
        model: the transformer.
        resolutions: choices of the side of the square input, in pixels.

    Raises:
        LayoutError: blocks other than timm's standard `Block`, or an input that isn't square.
    """
    _check(model)
    block = cast(Any, model.blocks[0])
    channels, *_ = library_of(model).image_size
    patch = model.patch_embed.patch_size[0]
    side = model.patch_embed.img_size[0]
    positions = model.pos_embed.shape[1] - (side // patch) ** 2 if model.pos_embed is not None else 0
    head = block.attn.head_dim
    return Recipe(
        layout=_layout(head),
        dims={
            "embed": DimRule((0.5, 0.75, 1.0), multiple=8),
            "heads": DimRule((0.5, 0.75, 1.0)),
            "hidden": DimRule((0.5, 0.75, 1.0), multiple=8),
            "depth": DimRule((0.5, 0.75, 1.0)),
            "resolution": resolution_rule(side, patch, resolutions, exact=True),
        },
        derived={
            "grid": Derived(("resolution",), Fraction(1, patch), keep="transform"),
            "tokens": Derived(("grid", "grid"), plus=positions, keep="transform"),
        },
        transforms={"pos_embed?": ResampledPositions(positions)},
        resolution=side,
        input_size=(channels, side, side),
        notes={"head width": f"{head} per head: attention's scale depends on it", "patch size": str(patch)},
    )


def _layout(head: int) -> dict[str, str]:
    """The entries, of heads this wide."""
    return {
        "patch_embed.proj": "embed ...",
        "patch_embed.norm?": "embed",
        "patch_embed.img_size": "resolution resolution",
        "patch_embed.grid_size": "grid grid",
        "patch_embed.num_patches": "(grid grid)",
        "cls_token?": "1 1 embed",
        "dist_token?": "1 1 embed",
        "reg_token?": "1 _ embed",
        "pos_embed?": "1 tokens embed",
        "norm_pre?": "embed",
        "blocks": "depth",
        "blocks.{i}.norm1": "embed",
        "blocks.{i}.attn.qkv": f"(3 heads.{{i}} {head}) embed",
        "blocks.{i}.attn.num_heads": "heads.{i}",
        "blocks.{i}.attn.attn_dim?": f"(heads.{{i}} {head})",
        "blocks.{i}.attn.norm?": f"(heads.{{i}} {head})",
        "blocks.{i}.attn.gate?": f"(heads.{{i}} {head}) embed",
        "blocks.{i}.attn.proj": f"embed (heads.{{i}} {head})",
        "blocks.{i}.ls1?": "embed",
        "blocks.{i}.norm2": "embed",
        "blocks.{i}.mlp.fc1": "hidden.{i} embed",
        "blocks.{i}.mlp.norm?": "hidden.{i}",
        "blocks.{i}.mlp.fc2": "embed hidden.{i}",
        "blocks.{i}.ls2?": "embed",
        "norm?": "embed",
        "fc_norm?": "embed",
        "head?": "_ embed",
        "head_dist?": "_ embed",
        "embed_dim": "embed",
        "num_features": "embed",
        "head_hidden_size": "embed",
    }


def _check(model: VisionTransformer) -> None:
    embedding, pooling = getattr(model, "patch_embed", None), getattr(model, "attn_pool", None)
    for part, module, known in (
        ("patch_embed", embedding, is_patch_embedding(embedding)),
        ("attn_pool", pooling, pooling is None),
    ):
        if not known:
            raise LayoutError(f"the vit recipe doesn't know the {type(module).__name__} at {part!r}")
    kinds = {type(block).__name__ for block in model.blocks if class_name(block) != "vision_transformer:Block"}
    if kinds:
        raise LayoutError(f"the vit recipe is for timm's Block, this model has {', '.join(sorted(kinds))}")
    height, width = model.patch_embed.img_size
    if height != width:
        raise LayoutError(f"the vit recipe needs a square input, this model takes {height} × {width}")

"""timm's models: their inputs, and how timm builds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from elastic.upstream.library import Library, Size3


class Timm(Library):
    """A model of timm."""

    name = "timm"

    @property
    def _config(self) -> Mapping[str, Any]:
        """The model's configuration in timm; empty for a model that was built without `create_model`."""
        return getattr(self.model, "pretrained_cfg", None) or getattr(self.model, "default_cfg", None) or {}

    @property
    def input_size(self) -> Size3 | None:
        """As configured; the model's own number of channels wins."""
        if "input_size" not in self._config:
            return None
        channels, height, width = self._config["input_size"]
        return int(getattr(self.model, "in_chans", channels)), int(height), int(width)

    def set_input_size(self, size: Sequence[int]) -> None:
        """In a configuration of the model's own."""
        if self._config:
            self.model.pretrained_cfg = self.model.default_cfg = {**self._config, "input_size": tuple(size)}

    def preprocessing(self, channels: int) -> dict[str, Any]:
        """`mean`, `std`, `interpolation` and `crop_pct`; none if they are for another number of channels."""
        if len(self._config.get("mean", ())) != channels:
            return {}
        return {key: self._config[key] for key in ("mean", "std", "interpolation", "crop_pct") if key in self._config}

    @property
    def first_convolution(self) -> str | None:
        """As the configuration names it."""
        named = self._config.get("first_conv")
        return named if isinstance(named, str) else super().first_convolution

    def build_arguments(self, built_with: Mapping[str, Any]) -> dict[str, Any] | None:
        """Architecture, number of classes and channels, and the arguments in `built_with`."""
        if "architecture" not in self._config:
            return None
        own = {name: getattr(self.model, name) for name in ("num_classes", "in_chans") if hasattr(self.model, name)}
        return {"library": self.name, "name": self._config["architecture"], "arguments": {**own, **built_with}}

    def uniform_arguments(self) -> dict[str, Any]:
        """Widths, depths, heads and kernels of the classes below."""
        reader = _UNIFORM.get(class_name(self.model))
        return {} if reader is None else reader(self.model)

    def config_fields(self, sizes: Mapping[str, Any], config: Mapping[str, Any], uniform: bool) -> dict[str, Any]:
        """Architecture, its arguments, and how images are prepared; none if the arguments don't say all sizes."""
        if not uniform:
            return {}
        build = sizes["build"]
        arguments = dict(build["arguments"])
        classes = {"num_classes": arguments.pop("num_classes")} if "num_classes" in arguments else {}
        said = {**self._config, **config["preprocessing"], "input_size": config["input_size"]}
        described = {name: value for name, value in said.items() if name in DESCRIBES_MODEL}
        names = {"label_names": list(config["card"]["classes"])} if config["card"]["classes"] else {}
        fields = {"architecture": build["name"], **classes, **names}
        return {**fields, "model_args": arguments, "pretrained_cfg": described}

    def load_folder(self, folder: Path, build: Mapping[str, Any]) -> tuple[str, nn.Module]:
        """By the `local-dir:` scheme."""
        import timm

        return _LOAD_FOLDER, timm.create_model(f"local-dir:{folder}", pretrained=True)


DESCRIBES_MODEL = frozenset({
    "input_size", "fixed_input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std", "pool_size",
    "first_conv", "classifier",
})  # fmt: skip
"""Fields of `pretrained_cfg` that describe the model; the others say where upstream's weights are."""

_LOAD_FOLDER = 'import timm\n\nmodel = timm.create_model("local-dir:.", pretrained=True).eval()'


# --- classes ---------------------------------------------------------------------------------------------------------


def class_name(module: nn.Module) -> str:
    """The class of a module, without the package: `resnet:BasicBlock` for `timm.models.resnet`'s; else in full."""
    cls = type(module)
    return f"{cls.__module__.removeprefix('timm.models.')}:{cls.__qualname__}"


def is_patch_embedding(module: object) -> bool:
    """Whether a module is timm's `PatchEmbed`, or inherits from it."""
    return any(f"{cls.__module__}.{cls.__name__}" == _PATCH_EMBEDDING for cls in type(module).__mro__)


_PATCH_EMBEDDING = "timm.layers.patch_embed.PatchEmbed"


def resample_positions(positions: Tensor, grid: Sequence[int], prefix_tokens: int) -> Tensor:
    """Position embeddings `(1, tokens, width)` for another grid of patches, resampled exactly as timm does."""
    from timm.layers import resample_abs_pos_embed

    return cast(Tensor, resample_abs_pos_embed(positions, list(grid), num_prefix_tokens=prefix_tokens))


# --- uniform models: all blocks (of a stage) are alike, so that arguments say all their sizes -------------------------


def _vit(model: Any) -> dict[str, Any]:
    block = model.blocks[0]
    return {
        "img_size": model.patch_embed.img_size[0],
        "embed_dim": model.embed_dim,
        "depth": len(model.blocks),
        "num_heads": block.attn.num_heads,
        "mlp_ratio": block.mlp.fc1.out_features / model.embed_dim,
    }


def _convnext(model: Any) -> dict[str, Any]:
    return {
        "depths": [len(stage.blocks) for stage in model.stages],
        "dims": [stage.blocks[0].conv_dw.out_channels for stage in model.stages],
        "kernel_sizes": [stage.blocks[0].conv_dw.kernel_size[0] for stage in model.stages],
    }


def _swin(model: Any) -> dict[str, Any]:
    block = model.layers[0].blocks[0]
    return {
        "embed_dim": model.patch_embed.proj.out_channels,
        "depths": [len(layer.blocks) for layer in model.layers],
        "num_heads": [layer.blocks[0].attn.num_heads for layer in model.layers],
        "mlp_ratio": block.mlp.fc1.out_features / block.mlp.fc1.in_features,
    }


_UNIFORM: dict[str, Callable[[Any], dict[str, Any]]] = {
    "vision_transformer:VisionTransformer": _vit,
    "convnext:ConvNeXt": _convnext,
    "swin_transformer:SwinTransformer": _swin,
}

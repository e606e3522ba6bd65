"""Tiny models of kinds that only discovery makes elastic, each with what it takes; their weights are random."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import timm
import torch
from small import randomise
from torch import Tensor, nn

import elastic

WORDS = 61


def ids(length: int = 12, count: int = 2) -> Tensor:
    """Token ids `(count, length)`, int64."""
    return torch.randint(3, WORDS, (count, length), generator=torch.Generator().manual_seed(1))


def images(side: int, count: int = 2) -> Tensor:
    """Images `(count, 3, side, side)`."""
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@dataclass(frozen=True)
class Case:
    """A model, and what it takes.

    Attributes:
        build: gives the model.
        inputs: a batch of two.
        options: of `elastic.elasticize`.
        kinds: of dims that it must have.
        memory: whether its peak memory is known, too.
    """

    build: Callable[[], nn.Module]
    inputs: Tensor | Mapping[str, Tensor]
    options: dict[str, Any]
    kinds: frozenset[str] = frozenset({"hidden"})
    memory: bool = True

    def model(self) -> nn.Module:
        """The plain model; the same one every time."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return randomise(self.build())

    def supernet(self) -> elastic.Supernet:
        """A supernet of it."""
        return elastic.elasticize(self.model(), **self.options)


class Recurrent(nn.Module):
    """Classifies a text by its last state."""

    def __init__(self, kind: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 24)
        self.states = kind(24, 16, batch_first=True, **options)
        self.head = nn.Linear(32 if self.states.bidirectional else 16, 5)

    def forward(self, text: Tensor) -> Tensor:
        return self.head(self.states(self.words(text))[0][:, -1])


class UNet(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.down1, self.down2 = self.block(3, width), self.block(width, 2 * width)
        self.up, self.join = nn.ConvTranspose2d(2 * width, width, 2, 2), self.block(2 * width, width)
        self.out = nn.Conv2d(width, 2, 1)

    def block(self, before: int, after: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down1(x)
        return self.out(self.join(torch.cat([skip, self.up(self.down2(nn.functional.max_pool2d(skip, 2)))], 1)))


class Vae(nn.Module):
    """Gives an image, and the mean and the log of the variance of its code."""

    def __init__(self, code: int = 8) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU())
        self.mean, self.variance, self.decoded = nn.Linear(512, code), nn.Linear(512, code), nn.Linear(code, 512)
        self.decoder = nn.Sequential(nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 3, 4, 2, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.encoder(x).flatten(1)
        mean, variance = self.mean(features), self.variance(features)
        return self.decoder(self.decoded(mean).view(-1, 32, 4, 4)), mean, variance


def _vision(name: str, side: int, kinds: set[str], **build: Any) -> Case:
    def make() -> nn.Module:
        return timm.create_model(name, num_classes=5, **build)

    return Case(make, images(side), {"input_size": (3, side, side)}, frozenset(kinds))


def _plain(build: Callable[[], nn.Module], inputs: Tensor, kinds: set[str], memory: bool = True) -> Case:
    options = {"example": inputs} if inputs.dtype == torch.int64 else {"input_size": tuple(inputs.shape[1:])}
    return Case(build, inputs, options, frozenset(kinds), memory)


_STAGES = {"embed_dims": [16, 16, 32, 32], "serial_depths": [1, 2, 1, 1]}
CASES = {
    "lstm": _plain(lambda: Recurrent(nn.LSTM), ids(), {"hidden", "width"}, memory=False),
    "lstm both ways": _plain(lambda: Recurrent(nn.LSTM, bidirectional=True, num_layers=2), ids(), {"hidden"}, False),
    "gru": _plain(lambda: Recurrent(nn.GRU, num_layers=2), ids(), {"hidden", "width"}, memory=False),
    "rnn": _plain(lambda: Recurrent(nn.RNN), ids(), {"hidden"}, memory=False),
    "u-net": _plain(UNet, images(16), {"hidden"}),
    "vae": _plain(Vae, images(16), {"hidden"}),
    "coat": _vision("coat_lite_tiny", 32, {"depth", "hidden"}, img_size=32, **_STAGES),
    "dinov3": _vision(
        "vit_small_patch16_dinov3", 32, {"depth", "heads", "hidden"}, img_size=32, embed_dim=64, depth=3, num_heads=4
    ),
}  # fmt: skip


def _transformer(
    name: str, inputs: Any, kinds: set[str], config: dict[str, Any], text: bool = False
) -> dict[str, Case]:
    """The case; none where this version of transformers doesn't have the class."""
    import transformers

    builder = getattr(transformers, name, None)
    if builder is None:
        return {}
    if text:
        options: dict[str, Any] = {"length": inputs.shape[1]}
    else:
        options = {"input_size": tuple(inputs.shape[1:])} if isinstance(inputs, Tensor) else {"example": inputs}
    return {name: Case(lambda: builder(builder.config_class(**config)), inputs, options, frozenset(kinds))}


def _transformers() -> dict[str, Case]:
    small = {"vocab_size": WORDS, "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 2}
    bert = {
        **small, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64,
        "max_position_embeddings": 32,
    }  # fmt: skip
    grouped = {
        **bert,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    }
    gemma = {
        **grouped,
        "vocab_size_per_layer_input": WORDS,
        "hidden_size_per_layer_input": 16,
        "num_kv_shared_layers": 0,
    }
    gemma3n = {
        "laurel_rank": 8,
        "altup_num_inputs": 2,
        "intermediate_size": [64] * 4,
        "activation_sparsity_pattern": [0.0] * 4,
    }
    falcon = {**small, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_kv_heads": 2}
    t5 = {"vocab_size": WORDS, "d_model": 32, "d_ff": 64, "d_kv": 8, "num_layers": 2, "num_heads": 4}
    sides = ("encoder", "decoder")
    bart = {
        **small, "decoder_start_token_id": 2, "d_model": 32, "max_position_embeddings": 32,
        **{f"{side}_layers": 2 for side in sides}, **{f"{side}_attention_heads": 4 for side in sides},
        **{f"{side}_ffn_dim": 64 for side in sides},
    }  # fmt: skip
    sam = {
        "hidden_size": 32, "output_channels": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32,
        "patch_size": 8, "mlp_dim": 64, "window_size": 2, "global_attn_indexes": [1], "num_pos_feats": 8,
    }  # fmt: skip
    prompts = {"hidden_size": 16, "image_size": 32, "patch_size": 8, "mask_input_channels": 8}
    decoder = {
        "hidden_size": 16,
        "mlp_dim": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 16,
    }
    dinov3 = {**bert, "image_size": 32, "patch_size": 8, "num_hidden_layers": 2, "num_register_tokens": 2}
    dpt = {
        **bert, "image_size": 32, "patch_size": 16, "backbone_out_indices": [0, 1, 2, 3], "is_hybrid": False,
        "neck_hidden_sizes": [16, 16, 32, 32], "fusion_hidden_size": 16,
    }  # fmt: skip
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8}
    both, deep = {"input_ids": ids(), "decoder_input_ids": ids(7)}, {"depth", "heads", "hidden"}
    points = {"pixel_values": images(32), "input_points": torch.tensor([[[[3.0, 9.0]]]] * 2)}
    parts = {"vision_config": sam, "prompt_encoder_config": prompts, "mask_decoder_config": decoder}
    return {
        **_transformer("BartForConditionalGeneration", both, deep, bart),
        **_transformer("DINOv3ViTModel", images(32), {"heads", "hidden"}, dinov3),
        **_transformer("DPTForDepthEstimation", images(32), {"heads", "hidden"}, dpt),
        **_transformer(
            "FalconForCausalLM", ids(), {"depth", "hidden"}, {**falcon, "new_decoder_architecture": True}, True
        ),
        **_transformer("Gemma3nForCausalLM", ids(), {"groups", "hidden"}, {**gemma, **gemma3n}, True),
        **_transformer("Gemma4ForCausalLM", ids(), {"groups", "hidden"}, {**gemma, "global_head_dim": 16}, True),
        **_transformer("GptOssForCausalLM", ids(), {"depth", "groups"}, {**grouped, **experts}, True),
        **_transformer("MBartForConditionalGeneration", ids(), deep, bart, True),
        **_transformer("MT5ForConditionalGeneration", both, deep, t5),
        **_transformer(
            "RwkvForCausalLM", ids(), {"hidden"}, {**small, "hidden_size": 32, "num_hidden_layers": 2}, True
        ),
        **_transformer("SamModel", points, deep, parts),
        **_transformer("SamVisionModel", images(32), {"heads", "hidden"}, sam),
        **_transformer("T5ForConditionalGeneration", both, deep, t5),
    }


if find_spec("transformers"):
    CASES |= _transformers()


@cache
def supernet(name: str) -> elastic.Supernet:
    """The supernet of a case, made once; leave its weights and its active subnet as they are."""
    return CASES[name].supernet()

"""transformers' models: the text that they read, and how transformers builds them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from elastic.errors import CheckpointError, first_line
from elastic.support.files import refuse_links
from elastic.upstream.library import Library


class Transformers(Library):
    """A model of transformers."""

    name = "transformers"

    @property
    def classes(self) -> int:
        """The configuration's number of labels."""
        return int(self.model.config.num_labels)

    @property
    def vocabulary(self) -> int | None:
        """The configuration's, for a model that reads token ids."""
        if getattr(self.model, "main_input_name", "") != "input_ids":
            return None
        return getattr(self.model.config, "vocab_size", None)

    @property
    def longest_text(self) -> int | None:
        """The number of positions in the model's table; None if it has none."""
        limit = getattr(self.model.config, "max_position_embeddings", None) or 0
        if limit <= 0:  # XLNet says -1
            return None
        tables = [one for name, one in self.model.named_modules() if name.endswith("position_embeddings")]
        padding = [one.padding_idx + 1 for one in tables if getattr(one, "padding_idx", None) is not None]
        return int(limit - max(padding, default=0))  # RoBERTa's positions start after the one for padding

    def example_text(self, length: int, n: int = 2) -> dict[str, Tensor]:
        """As `example_text` below."""
        return example_text(self.model.config, length, n)

    def prepare_to_watch(self) -> None:
        """Use eager attention, whose code repeats keys for each query head with any mask."""
        if self.vocabulary is not None and hasattr(self.model, "set_attn_implementation"):
            self.model.set_attn_implementation("eager")

    def set_depth(self, layers: Sequence[nn.Module]) -> None:
        """Restate the number of layers, and number them anew: a cache finds keys and values by these numbers."""
        config = self.model.config
        config.num_hidden_layers = len(layers)
        if "layer_types" in vars(config) and config.layer_types:
            config.layer_types = config.layer_types[: len(layers)]  # all of one type where depth is elastic
        for index, layer in enumerate(layers):
            for module in layer.modules():
                if hasattr(module, "layer_idx"):
                    module.layer_idx = index  # type: ignore[assignment]

    def build_arguments(self, built_with: Mapping[str, Any]) -> dict[str, Any] | None:
        """The class, and the fields of its configuration that aren't at their defaults."""
        config = self.model.config
        fields = json.loads(config.to_json_string(use_diff=True))
        fields.pop("transformers_version", None)
        fields |= {"model_type": config.model_type, "attn_implementation": config._attn_implementation}
        return {"library": self.name, "name": type(self.model).__name__, "arguments": fields}

    def config_fields(self, sizes: Mapping[str, Any], config: Mapping[str, Any], uniform: bool) -> dict[str, Any]:
        """The model's configuration; none if layers were left out, which the library would draw at random.

        If layers differ in size, loading fails on the shapes instead of giving another model.
        """
        if any("left_out" in own for own in sizes["modules"].values()):
            return {}
        build = sizes["build"]
        fields = {name: value for name, value in build["arguments"].items() if name != "attn_implementation"}
        return {**fields, "architectures": [build["name"]], "dtype": str(self.model.dtype).removeprefix("torch.")}

    def load_folder(self, folder: Path, build: Mapping[str, Any]) -> tuple[str, nn.Module]:
        """By `from_pretrained`, with the attention code of the original: another one rounds differently."""
        import transformers

        kernel, cls = build["arguments"]["attn_implementation"], getattr(transformers, build["name"])
        return _LOAD_FOLDER.format(name=build["name"]), cls.from_pretrained(folder, attn_implementation=kernel)


_LOAD_FOLDER = 'from transformers import {name}\n\nmodel = {name}.from_pretrained(".").eval()'

LOAD_TOKENIZER = 'from transformers import AutoTokenizer\n\ntokenizer = AutoTokenizer.from_pretrained(".")'
"""Python that loads the tokenizer in the folder it runs in."""


def copy_tokenizer(source: str | Path, target: str | Path) -> None:
    """Write the tokenizer in one folder into another, with all of its files; nothing where there is none.

    Args:
        source: has `tokenizer_config.json`, as each folder that a tokenizer was saved into.
        target: a folder.

    Raises:
        CheckpointError: a tokenizer that can't be read, or a link in the folder.
    """
    if not (Path(source) / "tokenizer_config.json").is_file():
        return
    from transformers import AutoTokenizer

    refuse_links(source)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            f"the tokenizer in {source} can't be read: {first_line(error)}; export it again"
        ) from error
    tokenizer.save_pretrained(target)


def example_text(config: Any, length: int, n: int = 2) -> dict[str, Tensor]:
    """Random text for a model of transformers, the same for each call.

    Args:
        config: the model's configuration: number of token ids, padding, and whether there are token types.
        length: in tokens.
        n: number of texts.

    Returns:
        `input_ids` and `attention_mask`, int64 `(n, length)`, the first text padded; `token_type_ids` for BERT.
    """
    generator = torch.Generator().manual_seed(0)
    text = {"input_ids": torch.randint(0, config.vocab_size, (n, length), generator=generator)}
    if getattr(config, "pad_token_id", None) is not None:  # would be taken for padding
        text["input_ids"][text["input_ids"] == config.pad_token_id] = (config.pad_token_id + 1) % config.vocab_size
    text["attention_mask"] = torch.ones_like(text["input_ids"])
    text["attention_mask"][0, length // 2 + 1 :] = 0
    if getattr(config, "type_vocab_size", 1) > 1:
        text["token_type_ids"] = torch.zeros_like(text["input_ids"])
    return text


# --- classes ---------------------------------------------------------------------------------------------------------

_TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForConditionalGeneration": "text2text-generation",
    "ForMultipleChoice": "multiple-choice",
}
"""The end of a class's name → the hub's name for what it does."""


def task_of(class_name: str) -> str:
    """The hub's name for the task of a class that reads text."""
    return next((task for head, task in _TASKS.items() if class_name.endswith(head)), "feature-extraction")


# --- what recipes ask of a model -------------------------------------------------------------------------------------


def prefix_of(model: Any) -> str:
    """Path of the bare model inside a model with a head, with its dot; empty for a bare model."""
    prefix = model.base_model_prefix
    return f"{prefix}." if hasattr(model, prefix) else ""


def shared_value(values: Sequence[int], otherwise: int) -> int:
    """The value that all layers have; `otherwise` if they differ, which a configuration can't say."""
    return values[0] if len(set(values)) == 1 else otherwise

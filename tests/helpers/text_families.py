"""One tiny transformer of every kind that the recipes for text must carry, with all its weights drawn at random."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
import transformers
from small import randomise
from torch import nn

import elastic

LENGTH, WORDS = 12, 61


@dataclass(frozen=True)
class Case:
    """A model as transformers makes it, and the options that its recipe takes.

    Attributes:
        architecture: a class of transformers.
        config: fields of its configuration.
        options: of `elastic.elasticize`.
    """

    architecture: str
    config: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)

    def model(self, attention: str = "sdpa") -> nn.Module:
        """The plain model; the same one every time."""
        builder = getattr(transformers, self.architecture)
        attention = attention if builder._supports_sdpa else "eager"  # ELECTRA before transformers 5
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return randomise(builder(builder.config_class(**self.config, attn_implementation=attention)))

    def supernet(self, attention: str = "sdpa") -> elastic.Supernet:
        """A supernet of it."""
        return elastic.elasticize(self.model(attention), **{"length": LENGTH, **self.options})


def inputs(count: int = 3) -> dict[str, torch.Tensor]:
    """A batch as a tokenizer gives it, one row of it with padding."""
    ids = torch.randint(3, WORDS, (count, LENGTH), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[0, LENGTH // 2 :] = 0
    return {"input_ids": ids, "attention_mask": mask}


_SMALL = {"vocab_size": WORDS, "max_position_embeddings": 32, "pad_token_id": 1}
_BERT = _SMALL | {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}
_DISTILBERT = _SMALL | {"dim": 32, "n_layers": 4, "n_heads": 4, "hidden_dim": 64}
_LLAMA = _BERT | {"num_attention_heads": 8, "num_key_value_heads": 4}

ENCODERS = {
    "bert": Case("BertForSequenceClassification", _BERT),
    "bert without head": Case("BertModel", _BERT),
    "bert with tied decoder": Case("BertForMaskedLM", _BERT),
    "bert of two widths": Case("BertForTokenClassification", _BERT, {"choices": {"heads": [1, 4], "hidden": [1, 16]}}),
    "dynabert": Case("BertForSequenceClassification", _BERT, {"recipe": "dynabert"}),
    "roberta": Case("RobertaForSequenceClassification", _BERT),
    "roberta with tied decoder": Case("RobertaForMaskedLM", _BERT),
    "electra": Case("ElectraForPreTraining", _BERT | {"embedding_size": 16}),
    "distilbert": Case("DistilBertForSequenceClassification", _DISTILBERT),
    "distilbert with tied decoder": Case("DistilBertForMaskedLM", _DISTILBERT),
}
DECODERS = {
    "llama": Case("LlamaForCausalLM", _LLAMA),
    "llama with biases": Case("LlamaForCausalLM", _LLAMA | {"attention_bias": True, "mlp_bias": True}),
    "llama without groups": Case("LlamaForCausalLM", _LLAMA | {"num_key_value_heads": 8}),
    "llama with one group": Case("LlamaModel", _LLAMA | {"num_key_value_heads": 1}),
    "llama of few choices": Case("LlamaForCausalLM", _LLAMA | {"num_attention_heads": 4, "num_key_value_heads": 2}),
    "mistral": Case("MistralForCausalLM", _LLAMA | {"sliding_window": 5}),
    "qwen2": Case("Qwen2ForCausalLM", _LLAMA),
    "qwen2 of two types": Case(
        "Qwen2ForCausalLM", _LLAMA | {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2}
    ),
    "qwen3": Case("Qwen3ForSequenceClassification", _LLAMA | {"head_dim": 6}),
    "qwen3 with tied head": Case("Qwen3ForCausalLM", _LLAMA | {"head_dim": 6, "tie_word_embeddings": True}),
}
CASES = ENCODERS | DECODERS


@cache
def supernet(name: str, attention: str = "sdpa") -> elastic.Supernet:
    """The supernet of a case, made once; leave its weights and its active subnet as they are."""
    return CASES[name].supernet(attention)

"""DynaBERT at the size of SST-2: a BERT of four layers, to be trained on a laptop.

Source: Hou et al., "DynaBERT: Dynamic BERT with Adaptive Width and Depth", NeurIPS 2020, arXiv:2004.04037; the sizes
and the vocabulary of 4,000 pieces, made from SST-2's training texts, are our own.
"""

from __future__ import annotations

from torch import nn

from elastic import Recipe
from elastic.support.packages import require_packages

LONGEST = 64
LABELS = ("negative", "positive")
"""Of SST-2's sentences."""


def dynabert_sst2(num_classes: int = 2, uniform: bool = False) -> tuple[nn.Module, Recipe]:
    """The network with fresh weights: heads and feed-forward width of 4 layers, depth.

    Args:
        num_classes: how many logits; 1 predicts a number.
        uniform: one width for all layers, as DynaBERT has it, rather than one for each: 12 subnets.

    Raises:
        PackageError: transformers isn't installed.
    """
    require_packages("dynabert_sst2", "transformers")
    from transformers import BertConfig, BertForSequenceClassification

    from elastic.recipes.bert import bert, dynabert

    config = BertConfig(  # type: ignore[call-arg] # made by a decorator that hides its fields
        vocab_size=4000,
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=LONGEST,
        num_labels=num_classes,
    )
    if num_classes == len(LABELS):
        config.id2label, config.label2id = dict(enumerate(LABELS)), {label: at for at, label in enumerate(LABELS)}
    model = BertForSequenceClassification(config)
    return model, (dynabert if uniform else bert)(model, LONGEST)

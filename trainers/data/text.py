"""Text as inputs: tokenizers of transformers, batches padded to their longest text, words left out by chance."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from elastic.errors import TrainingError, first_line
from elastic.support.inputs import Inputs
from elastic.support.packages import require_packages
from elastic.upstream import library_of
from trainers.data.glue_tasks import Example
from zoo.catalog import vocabulary_file


class Texts(Dataset[Any]):
    """Texts with labels; words may be left out, or replaced, each time anew."""

    def __init__(self, examples: Sequence[Example], numbers: bool, replacer: WordReplacer | None = None) -> None:
        """Nothing is tokenized before a batch is made.

        Args:
            examples: texts or pairs, with labels.
            numbers: whether labels are numbers to predict, rather than classes.
            replacer: changes the words, drawing from Python's global generator.
        """
        self.examples = examples
        self.numbers = numbers
        self.replacer = replacer

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> tuple[tuple[str, str | None], float | int]:
        first, second, label = self.examples[index]
        if self.replacer is not None:
            first, second = self.replacer(first), None if second is None else self.replacer(second)
        return (first, second), label if self.numbers else int(label)


class WordReplacer:
    """Leaves words out by chance, or replaces them by what a masked language model would say there.

    Each word is changed with probability `rate`. TinyBERT's augmentation (Jiao et al., 2020, arXiv:1909.10351), which
    DynaBERT uses, replaces; without a model at hand, leaving out is what remains.

    Args:
        rate: probability, 0 to 1.
        model: a masked language model's name or folder, of transformers; None: words are left out.
        candidates: a replacement is one of this many likeliest.

    Raises:
        TrainingError: a rate that is no probability, or 1.
    """

    def __init__(self, rate: float, model: str | None = None, candidates: int = 15) -> None:
        if not 0 <= rate < 1:
            raise TrainingError(f"--data.replace_words is a probability of 0 or more and below 1, got {rate}")
        self.rate = rate
        self.model = model
        self.candidates = candidates
        self._fill: Any = None

    def __call__(self, text: str) -> str:
        """The text with some of its words changed; at least one word stays."""
        words = text.split()
        chosen = [at for at in range(len(words)) if random.random() < self.rate]
        if self.model is None:
            kept = [word for at, word in enumerate(words) if at not in chosen]
            return " ".join(kept or words[:1])
        for at in chosen:
            words[at] = self._replacement(words, at)
        return " ".join(words)

    def _replacement(self, words: list[str], at: int) -> str:
        if self._fill is None:
            from transformers import pipeline

            self._fill = pipeline("fill-mask", self.model, top_k=self.candidates)
        found = self._fill(self._around(words, at))
        whole = [one["token_str"].strip() for one in found if one["token_str"].strip().isalnum()]
        return random.choice(whole) if whole else words[at]

    def _around(self, words: list[str], at: int) -> str:
        """The text with a mask in the place of a word, and of the words around it as many as the model reads."""
        tokenizer, longest, reach = self._fill.tokenizer, library_of(self._fill.model).longest_text, len(words)
        while True:
            near = [*words[max(0, at - reach) : at], tokenizer.mask_token, *words[at + 1 : at + 1 + reach]]
            text = " ".join(near)
            if longest is None or reach == 0 or len(tokenizer(text)["input_ids"]) <= longest:
                return text
            reach //= 2


class Collator:
    """Makes a batch of texts: token ids and what else the tokenizer gives, padded to the longest, and labels."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length

    def __call__(self, items: Sequence[tuple[tuple[str, str | None], float | int]]) -> tuple[Inputs, Tensor]:
        """Inputs, each int64 `(N, tokens)`, and labels `(N,)`."""
        texts, labels = zip(*items, strict=True)
        firsts, seconds = zip(*texts, strict=True)
        pairs = None if seconds[0] is None else list(seconds)
        options = {"padding": True, "truncation": True, "max_length": self.max_length, "return_tensors": "pt"}
        return dict(self.tokenizer(list(firsts), pairs, **options)), torch.tensor(labels)


def load_tokenizer(name: str) -> Any:
    """A tokenizer of transformers, by the name or folder of a model, also of one in the zoo; or BERT's `vocab.txt`.

    Raises:
        PackageError: transformers isn't installed.
        TrainingError: there is no such tokenizer.
    """
    require_packages("text", "transformers")
    from transformers import AutoTokenizer, BertTokenizer

    try:
        pieces = vocabulary_file(name) or Path(name)
        if pieces.suffix == ".txt" and pieces.is_file():
            return BertTokenizer(str(pieces))
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"there is no tokenizer {name!r}: {first_line(error)}; give a published model's name, a folder with a "
            "tokenizer, or a vocab.txt (--data.tokenizer)"
        ) from error
    if tokenizer.pad_token is None:  # GPT-2's, Llama's
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def fit_tokenizer(tokenizer: Any, model: Any) -> None:
    """Let a tokenizer give token types only where the model tells some apart: GPT-2 would take them for words."""
    if getattr(model.config, "type_vocab_size", 1) < 2:
        tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]


def save_tokenizer(tokenizer: Any, folder: str | Path, longest: int | None) -> None:
    """Write a tokenizer that cuts texts at `longest` tokens, for `transformers.AutoTokenizer.from_pretrained`."""
    saved = copy.copy(tokenizer)
    if longest is not None:
        saved.model_max_length = min(saved.model_max_length, longest)
    saved.init_kwargs = {**saved.init_kwargs, "model_input_names": list(saved.model_input_names)}
    saved.save_pretrained(folder)

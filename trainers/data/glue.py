"""GLUE for training: any of its nine tasks, with any tokenizer of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch

from elastic.errors import TrainingError
from elastic.supernet.supernet import Supernet
from elastic.upstream import library_of
from trainers.data.glue_tasks import TASKS, Example, Task, read_task
from trainers.data.supernet_data import Splits, SupernetData
from trainers.data.text import Collator, Texts, WordReplacer, fit_tokenizer, load_tokenizer, save_tokenizer

_SHORTEST = 3


class Glue(SupernetData):
    """A task of GLUE; a seeded part of its training split is held out, and its development split is the test."""

    def __init__(
        self,
        task: str = "sst2",
        root: str | None = None,
        tokenizer: str = "google-bert/bert-base-uncased",
        max_length: int = 128,
        val_fraction: float = 0.05,
        replace_words: float = 0.0,
        replace_by: str | None = None,
        batch_size: int = 32,
        workers: int = 0,
        seed: int = 0,
    ) -> None:
        """Nothing is read before `setup`.

        Args:
            task: cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte or wnli.
            root: a folder with GLUE's TSV files (`SST-2/train.tsv` …); None: fetched by the library datasets.
            tokenizer: a published model's name, a folder with a tokenizer, or BERT's `vocab.txt`.
            max_length: tokens of a text, or pair, at most; what is longer is cut.
            val_fraction: share of the training split that is held out: for choosing, and for scoring units.
            replace_words: probability that a word of a training text is replaced, or left out.
            replace_by: a masked language model that says by what; None: words are left out.
            batch_size: texts per step and process.
            workers: processes that prepare them; 0 does it in the training process.
            seed: of the split, of the order, and of the words replaced.

        Raises:
            TrainingError: GLUE has no such task, fractions that aren't, or a model that would replace no word.
        """
        super().__init__(batch_size, workers, seed)
        if task not in TASKS:
            raise TrainingError(f"GLUE has no task {task!r}; it has {', '.join(TASKS)}")
        if not 0 < val_fraction < 1:
            raise TrainingError(f"--data.val_fraction is a share between 0 and 1, got {val_fraction}")
        if max_length < _SHORTEST:
            raise TrainingError(
                f"--data.max_length {max_length}: a text has two marks of the tokenizer's and a piece at least; "
                f"wanted {_SHORTEST} or more"
            )
        if replace_by is not None and not replace_words:
            raise TrainingError(
                f"--data.replace_by {replace_by} replaces words with probability --data.replace_words, which is 0; set "
                "that to 0.1, say, or leave --data.replace_by out"
            )
        self.task_name = task
        self.root = root
        self.tokenizer_name = tokenizer
        self.max_length = max_length
        self.val_fraction = val_fraction
        self.replacer = WordReplacer(replace_words, replace_by) if replace_words else None
        self.metric = self.task.metric

    @property
    def task(self) -> Task:
        """The task: columns, labels and metric."""
        return TASKS[self.task_name]

    @cached_property
    def tokenizer(self) -> Any:
        """Makes token ids of text.

        Raises:
            TrainingError: there is none of that name.
        """
        return load_tokenizer(self.tokenizer_name)

    def load(self) -> Splits:
        """Read the task's texts."""
        folder = None if self.root is None else Path(self.root)
        train, dev = (read_task(self.task_name, split, folder) for split in ("train", "dev"))
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(self.seed)).tolist()
        kept = round(len(order) * self.val_fraction)
        held_out, trained = [train[at] for at in order[:kept]], [train[at] for at in order[kept:]]
        self.collate = Collator(self.tokenizer, self.max_length)
        return Splits(
            self._texts(trained, self.replacer), self._texts(trained), self._texts(held_out), self._texts(dev)
        )

    def setup(self, stage: str) -> None:
        """Read the texts, and check that the model can read and answer them.

        Raises:
            TrainingError: the tokenizer has more pieces than the model, texts may be longer than it reads, or it has
                other classes.
        """
        super().setup(stage)
        module = None if self.trainer is None else self.trainer.lightning_module
        if module is not None:
            self.check(cast(Supernet, module.supernet))

    def check(self, supernet: Supernet) -> None:
        """Check that a supernet fits, see `setup`; and let the tokenizer give what its model takes."""
        model, recipe = supernet.model, supernet.recipe
        if recipe.vocabulary is None:
            raise TrainingError(f"a {type(model).__name__} doesn't read text; choose a model such as transformers:bert")
        if len(self.tokenizer) > recipe.vocabulary:
            raise TrainingError(
                f"the tokenizer {self.tokenizer_name} has {len(self.tokenizer)} pieces, the model reads "
                f"{recipe.vocabulary}; give the model's own (--data.tokenizer), or a model with that vocab_size"
            )
        fit_tokenizer(self.tokenizer, model)
        if getattr(model.config, "pad_token_id", None) is None and hasattr(model.config, "pad_token_id"):
            raise TrainingError(
                f"a {type(model).__name__} of this configuration has no token for padding, which batches need; "
                f"set --model.supernet.model_args.pad_token_id to the tokenizer's, {self.tokenizer.pad_token_id}"
            )
        own, known = self.tokenizer.pad_token_id, getattr(model.config, "pad_token_id", None)
        if None not in (own, known) and own != known:
            raise TrainingError(
                f"the tokenizer {self.tokenizer_name} pads with {own}, the model takes {known} for padding: they don't "
                "belong together; give the model's own (--data.tokenizer)"
            )
        longest = library_of(model).longest_text
        if longest is not None and self.max_length > longest:
            raise TrainingError(
                f"--data.max_length {self.max_length}: the model reads {longest} tokens at most; lower it to that"
            )
        if (classes := library_of(model).classes) != self.task.classes:
            raise TrainingError(
                f"{self.task_name} has {self.task.classes} class(es), the model {classes}: set num_labels "
                f"(num_classes of a supernet of the zoo) in --model.supernet.model_args to {self.task.classes}"
            )

    @cached_property
    def lengths(self) -> Sequence[int]:
        """Approximate lengths of the training texts, in characters."""
        examples = cast(Texts, self.splits.train).examples
        return [len(first) + len(second or "") for first, second, _ in examples]

    @property
    def preprocessing(self) -> dict[str, Any]:
        """The tokenizer's name, and the largest number of tokens."""
        return {"task": f"GLUE {self.task_name}", "tokenizer": self.tokenizer_name, "max_length": self.max_length}

    def save_preprocessing(self, folder: str | Path) -> None:
        """Write the tokenizer, for `transformers.AutoTokenizer.from_pretrained(folder)`."""
        save_tokenizer(self.tokenizer, folder, self.max_length)

    def _texts(self, examples: list[Example], replacer: WordReplacer | None = None) -> Texts:
        return Texts(examples, numbers=not self.task.labels, replacer=replacer)

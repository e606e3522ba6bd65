"""The nine tasks of GLUE: columns, labels and metric of each.

Source: Wang et al., "GLUE: A Multi-Task Benchmark and Analysis Platform for Natural Language Understanding", ICLR 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from elastic.errors import TrainingError, first_line
from elastic.support.packages import require_packages

Example = tuple[str, str | None, float]
"""A text, the second one of a pair, and the label: a class number, or a number to predict."""


@dataclass(frozen=True)
class Columns:
    """Columns of a TSV file, numbered from 0.

    Attributes:
        text: of the text, or of a pair's two.
        label: of the label.
        header: whether the first line says what the columns are.
    """

    text: tuple[int, ...]
    label: int
    header: bool = True


@dataclass(frozen=True)
class Task:
    """A task of GLUE.

    Attributes:
        folder: its folder's name in the distribution as TSV files.
        fields: the names of its texts in the library datasets.
        columns: of its TSV files.
        labels: the classes' names in these files, by class number; none where the label is a number to predict.
        metric: name of its metric.
        dev: the development split's name in datasets; its files are `dev.tsv`, or `dev_matched.tsv` of MNLI.
    """

    folder: str
    fields: tuple[str, ...]
    columns: Columns
    labels: tuple[str, ...]
    metric: str = "accuracy"
    dev: str = "validation"

    @property
    def classes(self) -> int:
        """The number of outputs of a model for it; 1 where it predicts a number."""
        return max(len(self.labels), 1)


_ENTAILS = ("entailment", "not_entailment")

TASKS = {
    "cola": Task("CoLA", ("sentence",), Columns((3,), 1, header=False), ("0", "1"), "matthews"),
    "sst2": Task("SST-2", ("sentence",), Columns((0,), 1), ("0", "1")),
    "mrpc": Task("MRPC", ("sentence1", "sentence2"), Columns((3, 4), 0), ("0", "1"), "f1"),
    "stsb": Task("STS-B", ("sentence1", "sentence2"), Columns((7, 8), 9), (), "spearman"),
    "qqp": Task("QQP", ("question1", "question2"), Columns((3, 4), 5), ("0", "1"), "f1"),
    "mnli": Task(
        "MNLI",
        ("premise", "hypothesis"),
        Columns((8, 9), -1),
        ("entailment", "neutral", "contradiction"),
        dev="validation_matched",
    ),
    "qnli": Task("QNLI", ("question", "sentence"), Columns((1, 2), 3), _ENTAILS),
    "rte": Task("RTE", ("sentence1", "sentence2"), Columns((1, 2), 3), _ENTAILS),
    "wnli": Task("WNLI", ("sentence1", "sentence2"), Columns((1, 2), 3), ("0", "1")),
}
"""By their names in the library datasets; class numbers are those of datasets, too."""


def read_task(name: str, split: str, folder: Path | None) -> list[Example]:
    """The examples of a task, from a folder of TSV files or from the library datasets.

    Args:
        name: the task's.
        split: `train` or `dev`.
        folder: with a folder per task (`SST-2/train.tsv`), as GLUE distributes them; None: fetched by datasets.

    Raises:
        TrainingError: no such task or file, a line that can't be understood, or data that can't be fetched.
    """
    if name not in TASKS:
        raise TrainingError(f"GLUE has no task {name!r}; it has {', '.join(TASKS)}")
    return _from_datasets(name, split) if folder is None else _from_tsv(TASKS[name], split, folder)


def _from_tsv(task: Task, split: str, folder: Path) -> list[Example]:
    path = folder / task.folder / f"{split}.tsv"
    if split == "dev" and not path.exists():
        path = path.with_name("dev_matched.tsv")
    if not path.is_file():
        raise TrainingError(
            f"there is no {folder / task.folder / split}.tsv; --data.root is a folder with GLUE's tasks, such as "
            f"{task.folder}/train.tsv and {task.folder}/dev.tsv; or leave it out, and they are fetched"
        )
    # texts may hold U+2028 and the like, at which str.splitlines ends a line, too; cells are stripped of the \r of \r\n
    try:
        lines = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise TrainingError(f"{path} isn't text in UTF-8 ({error}); save it as such") from error
    if len(lines) == 1 and "\r" in lines[0]:
        raise TrainingError(f"{path}: its lines end in carriage returns alone; save it with line feeds")
    return [_example(task, line.split("\t"), f"{path}, line {at}") for at, line in _numbered(lines, task.columns)]


def _numbered(lines: list[str], columns: Columns) -> list[tuple[int, str]]:
    return [(at, line) for at, line in enumerate(lines, 1) if line.strip() and (at > 1 or not columns.header)]


def _example(task: Task, cells: list[str], place: str) -> Example:
    columns = task.columns
    if max(*columns.text, columns.label) >= len(cells):
        raise TrainingError(f"{place} has {len(cells)} columns, {task.folder} more; is it another task's file?")
    first, *second = (cells[column].strip() for column in columns.text)
    return first, second[0] if second else None, _label(task, cells[columns.label].strip(), place)


def _label(task: Task, text: str, place: str) -> float:
    try:
        label = float(text) if not task.labels else float(task.labels.index(text))
        if not math.isfinite(label):
            raise ValueError(text)
        return label
    except ValueError as error:
        wanted = ", ".join(task.labels) or "a number"
        raise TrainingError(f"{place}: the label is {text!r}, {task.folder} has {wanted}") from error


def _from_datasets(name: str, split: str) -> list[Example]:
    require_packages("fetching GLUE (--data.root takes a folder instead)", "datasets")
    from datasets import load_dataset

    task = TASKS[name]
    try:
        rows = load_dataset("nyu-mll/glue", name, split=task.dev if split == "dev" else split)
    except (OSError, ValueError, RuntimeError) as error:
        raise TrainingError(
            f"GLUE's {name} can't be fetched: {first_line(error)}; give its folder (--data.root)"
        ) from error
    texts = [rows[field] for field in task.fields]
    seconds = texts[1] if len(texts) > 1 else [None] * len(texts[0])
    return [(a, b, float(label)) for a, b, label in zip(texts[0], seconds, rows["label"], strict=True)]

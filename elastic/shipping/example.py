"""The batch that a subnet is exported with and checked on: real inputs if there are any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import torch
from torch import Tensor, nn

from elastic.errors import ExportError
from elastic.formats.compare import singles
from elastic.support.inputs import Inputs, batch_size, moved, repeated, tensors_of
from elastic.support.tensors import flat, nested
from elastic.upstream import library_of

CALIBRATION = 300
"""The largest number of inputs from which int8's ranges are found."""

_CHECKED = 4
"""The largest number of inputs that files are checked on."""


def first_singles(batches: Iterable[Inputs]) -> list[Inputs]:
    """Split batches into batches of one on the CPU, up to 300; no further batch is read."""
    return list(islice((one for batch in batches for one in singles(moved(batch, "cpu"))), CALIBRATION))


def joined(ones: Sequence[Inputs]) -> Inputs:
    """Join the first few of these batches; of texts only those that are as long as the first."""
    head = ones[0]
    if isinstance(head, Tensor):
        return torch.cat([one for one in ones[:_CHECKED] if isinstance(one, Tensor)])
    alike = [one for one in ones[:_CHECKED] if not isinstance(one, Tensor) and shape_of_one(one) == shape_of_one(head)]
    leaves = [flat(one) for one in alike]
    return nested({name: torch.cat([one[name] for one in leaves]) for name in leaves[0]})


def example_batch(model: nn.Module, example: Inputs | None) -> Inputs:
    """An example batch of 2 or more, on the CPU.

    Args:
        model: its library gives the size of the inputs if there is no example.
        example: inputs `(N, C, H, W)`, or text by name.

    Raises:
        ExportError: no example, and a model that doesn't say its input size.
    """
    if example is not None:
        example = moved(example, "cpu")
        return example if batch_size(example) > 1 else repeated(example, 2)
    library = library_of(model)
    if library.vocabulary is not None:
        return made_up_batch(model, (library.text_length(None),), text=True)
    if library.input_size is None:
        raise ExportError(f"{type(model).__name__} doesn't say its input size; pass example=, inputs (N, C, H, W)")
    return made_up_batch(model, library.input_size, text=False)


def made_up_batch(model: nn.Module, shape: Sequence[int], text: bool) -> Inputs:
    """Random inputs on the CPU, the same each time: four images, or two texts, of which one is padded.

    Args:
        model: what reads them.
        shape: of one input: `(C, H, W)`, of text `(tokens,)`.
        text: whether the model reads token ids.

    Raises:
        ExportError: the model's library doesn't say what text it reads.
    """
    if text:
        return library_of(model).example_text(*shape)
    return torch.randn(_CHECKED, *shape, generator=torch.Generator().manual_seed(0))


def shape_of_one(inputs: Inputs) -> torch.Size:
    """The shape of one input: `(C, H, W)`, of text `(tokens,)`."""
    return tensors_of(inputs)[0].shape[1:]

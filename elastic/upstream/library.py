"""`Library`: the questions about a model that its library can answer, with the answers for ordinary modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from elastic.errors import ExportError, LayoutError
from elastic.support.inputs import USUAL_LENGTH

Size3 = tuple[int, int, int]
"""(channels, height, width) of an image."""

USUAL_IMAGE: Size3 = (3, 224, 224)


class Library:
    """A model, as its library describes it.

    The base class is for ordinary PyTorch modules: it answers None or nothing wherever only a library would know.
    `elastic.upstream.library_of` gives the class for a model.
    """

    name = ""
    """The library's import name; empty for ordinary modules."""

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model

    # --- inputs and outputs ---------------------------------------------------------------------------------

    @property
    def classes(self) -> int:
        """Number of classes that the model distinguishes.

        Raises:
            AttributeError: the model doesn't say.
        """
        return int(self.model.num_classes)

    @property
    def input_size(self) -> Size3 | None:
        """(channels, height, width) of the images that the model is configured for; None if it doesn't say."""
        return None

    @property
    def image_size(self) -> Size3:
        """The model's `input_size`, or 224 × 224 pixels if it doesn't say."""
        return self.input_size or (int(getattr(self.model, "in_chans", USUAL_IMAGE[0])), *USUAL_IMAGE[1:])

    @property
    def vocabulary(self) -> int | None:
        """Number of token ids that the model reads; None if it doesn't read token ids."""
        return None

    @property
    def longest_text(self) -> int | None:
        """Largest number of tokens that the model takes; None if it has no limit, or takes no text."""
        return None

    def example_text(self, length: int, n: int = 2) -> dict[str, Tensor]:
        """Random text for the model: tensors by input name, int64 `(n, length)`; the first text is padded.

        Raises:
            ExportError: the model's library doesn't say what text it reads.
        """
        raise ExportError(f"{type(self.model).__name__} doesn't say what text it reads; pass example=, a batch by name")

    def text_length(self, length: int | None) -> int:
        """Number of tokens that costs are counted on.

        Args:
            length: the number wanted; by default 128, or fewer if the model takes no more.

        Raises:
            LayoutError: not an int, below 1, or more than the model takes.
        """
        longest, name = self.longest_text, type(self.model).__name__
        if length is None:
            return min(USUAL_LENGTH, longest or USUAL_LENGTH)
        if not isinstance(length, int):
            raise LayoutError(f"length={length!r}: wanted a number of tokens, an int")
        if length < 1 or length > (longest or length):
            range_ = "1 token or more" if longest is None else f"1 to {longest} tokens"
            raise LayoutError(f"length={length}: this {name} takes {range_}; choose a length in this range")
        return length

    def preprocessing(self, channels: int) -> dict[str, Any]:
        """`mean`, `std` and other settings for preparing images with this number of channels; empty if unknown."""
        return {}

    # --- parts ----------------------------------------------------------------------------------------------

    @property
    def first_convolution(self) -> str | None:
        """Path of the convolution that images enter; None if the model has none."""
        return next((path for path, one in self.model.named_modules() if isinstance(one, nn.Conv2d)), None)

    @property
    def width_attributes(self) -> tuple[str, ...]:
        """Attributes of a model that, if it has them, give the width of the classifier's input."""
        return ("num_features", "head_hidden_size", "embed_dim")

    # --- changes --------------------------------------------------------------------------------------------

    def set_input_size(self, size: Sequence[int]) -> None:
        """Make the model's configuration give this input size."""

    def prepare_to_watch(self) -> None:
        """Choose, in place, code that discovery can follow and that computes the same."""

    def set_depth(self, layers: Sequence[nn.Module]) -> None:
        """Make the configuration give the number of these layers, and each layer its place among them."""

    # --- building it again ----------------------------------------------------------------------------------

    def build_arguments(self, built_with: Mapping[str, Any]) -> dict[str, Any] | None:
        """The arguments of `elastic.upstream.loader.build` that build the full-size model.

        Args:
            built_with: further arguments that the full model was built with.

        Returns:
            `library`, `name` and `arguments`; None if no library builds it.
        """
        return None

    def uniform_arguments(self) -> dict[str, Any]:
        """Arguments that would give a model whose blocks are all like this model's first; the caller compares.

        Returns:
            The arguments; none for classes whose sizes aren't all arguments.
        """
        return {}

    def config_fields(self, sizes: Mapping[str, Any], config: Mapping[str, Any], uniform: bool) -> dict[str, Any]:
        """The fields of `config.json` by which the library itself can load an exported folder.

        Args:
            sizes: of the model (see `elastic.shipping.loader_script.describe_sizes`).
            config: this project's own fields; of them the input size and the preprocessing are used.
            uniform: whether the arguments in `sizes` alone say all sizes.

        Returns:
            The fields; empty if the library can't build the model.
        """
        return {}

    def load_folder(self, folder: Path, build: Mapping[str, Any]) -> tuple[str, nn.Module]:
        """Load an exported folder with the library alone.

        Args:
            folder: has `config.json` with the fields above, and `model.safetensors`.
            build: what `build_arguments` gave.

        Returns:
            Python code that does the same in that folder, and the model.

        Raises:
            ExportError: no library builds the model.
        """
        raise ExportError(f"{type(self.model).__name__} comes from no library that could load it")

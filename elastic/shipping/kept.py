"""Files of an earlier export in the same folder: which are its own, and which of them may stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from elastic.formats import FORMATS
from elastic.shipping.loader_script import LOADER, SIZES

_WEIGHTS = FORMATS["safetensors"].files[0]


def own_files(former: Mapping[str, Any]) -> set[str]:
    """The files that an earlier export wrote; of those it lists, only names that exports have.

    Args:
        former: its `config.json`; empty where there was none.
    """
    known = {file for made in FORMATS.values() for file in made.files}
    return {*known, LOADER, SIZES} & {*former.get("files", ()), *former.get("loader", ())}


def kept_files(
    folder: Path, former: Mapping[str, Any], files: Mapping[str, Any], size: Sequence[int], text: bool = False
) -> dict[str, dict[str, Any]]:
    """The files of an earlier export that are still valid: it had the same weights and input size.

    Args:
        folder: where they are.
        former: its `config.json`; empty where there was none.
        files: the files that are written now, which aren't kept.
        size: shape of one input.
        text: inputs are text, whose length is any.

    Returns:
        File name → facts about it.
    """
    before = former.get("files", {})
    weights = {one[_WEIGHTS]["sha256"] if _WEIGHTS in one else None for one in (before, files)}
    same = former.get("input_size") == list(size) or (text and former.get("inputs"))
    if None in weights or len(weights) > 1 or not same:
        return {}
    own = {file for file in own_files(former) - files.keys() if (folder / file).exists()}
    return {file: facts for file, facts in before.items() if file in own}

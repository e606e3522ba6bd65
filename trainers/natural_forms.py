"""Options as people type them: `--choices depth=1,2,width=0.5`, `--resolutions 160,192`, `--overwrite`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

from elastic.support.text import pairs_in

_TRUTHS = ("true", "false", "True", "False", "yes", "no", "1", "0")


def spell_out(words: Sequence[str], annotations: Mapping[str, str]) -> list[str]:
    """A command line with the lists and mappings in it as YAML, and switches with `true`; YAML stays as it is.

    Args:
        words: the command line.
        annotations: of options, by name: those of lists begin with `list[`, those of mappings with `dict[`; a switch's
            is `bool`.
    """
    return list(_spelt_out(words, annotations))


def _spelt_out(words: Sequence[str], annotations: Mapping[str, str]) -> Iterator[str]:
    option = ""
    for word, following in zip_longest(words, words[1:], fillvalue="--"):
        name, equals, value = word.partition("=")
        if equals and name in annotations:
            yield f"{name}={_yaml(value, annotations[name])}"
        else:
            yield _yaml(word, annotations.get(option, ""))
        if annotations.get(word) == "bool" and following not in _TRUTHS:
            yield "true"
        option = word


def _yaml(value: str, annotation: str) -> str:
    if value.startswith(("[", "{")):
        return value
    if annotation.startswith("list["):
        return f"[{value}]" if "," in value or value.isdecimal() else value
    if annotation.startswith("dict["):
        pairs = pairs_in(value)
        written = (f"{json.dumps(name)}: {_of_pair(one, 'list[' in annotation)}" for name, one in pairs.items())
        return f"{{{', '.join(written)}}}" if pairs else value
    return value


def _of_pair(value: str, is_list: bool) -> str:
    return f"[{value}]" if is_list and value != "null" and not value.startswith("[") else value

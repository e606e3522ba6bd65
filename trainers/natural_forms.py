"""Lists and mappings as people type them: `--choices depth=1,2,width=0.5`, `--resolutions 160,192`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from elastic.support.text import pairs_in


def spell_out(words: Sequence[str], annotations: Mapping[str, str]) -> list[str]:
    """A command line with the lists and mappings in it as YAML; what is YAML already stays as it is.

    Args:
        words: the command line.
        annotations: of options, by name: those of lists begin with `list[`, those of mappings with `dict[`.
    """
    return list(_spelt_out(words, annotations))


def _spelt_out(words: Sequence[str], annotations: Mapping[str, str]) -> Iterator[str]:
    option = ""
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name in annotations:
            yield f"{name}={_yaml(value, annotations[name])}"
        else:
            yield _yaml(word, annotations.get(option, ""))
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

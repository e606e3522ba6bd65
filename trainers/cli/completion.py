"""`elastic completion`: a script by which the shell completes commands, options and names of supernets."""

from __future__ import annotations

import inspect
import sys
from typing import Literal

from trainers.cli.commands import COMMANDS
from trainers.jobs.words import ARCHS, DEVICES, FORMATS

_BASH = """\
_elastic() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} words supernets="{supernets}" folders
    folders=$(compgen -d -- "$word")
    case "${{COMP_WORDS[COMP_CWORD-1]}}" in
{values}
        *) words="" ;;
    esac
    [[ $words ]] && COMPREPLY=($(compgen -W "$words" -- "$word")) && return
    case "${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}" in
{cases}
        *) words="{first}" ;;
    esac
    [[ $COMP_CWORD == 1 ]] && words="{first}"
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _elastic elastic
"""

_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"
"""zsh runs bash's completions."""


_VALUES = {"arch": ARCHS, "archs": ARCHS, "formats": FORMATS, "device": DEVICES}
"""Options whose values are words."""


def completion(shell: Literal["bash", "zsh"]) -> None:
    """Print a script that completes commands, options and names of supernets in the shell.

    For this session: eval "$(elastic completion bash)"; for all of them, add that line to ~/.bashrc or ~/.zshrc.
    Completing starts no Python; print the script anew after an upgrade.

    Args:
        shell: bash or zsh.
    """
    from zoo.catalog import list_supernets

    values = [f'        --{option}) words="{" ".join(given)}" ;;' for option, given in _VALUES.items()]
    cases = []
    for name in sorted(COMMANDS, key=lambda name: -len(name.split())):  # `profile kit` before `profile`
        below = [other.split()[1] for other in COMMANDS if other.startswith(f"{name} ")]
        words = " ".join([*below, *options(name), *_arguments(name)])
        cases.append(f'        "{name}"*) words="{words}" ;;')
    groups = {name.split()[0] for name in COMMANDS} - set(COMMANDS)
    for group in sorted(groups):
        below = [name.split()[1] for name in COMMANDS if name.startswith(f"{group} ")]
        cases.append(f'        "{group} "*) words="{" ".join(below)}" ;;')
    first = " ".join(dict.fromkeys(name.split()[0] for name in COMMANDS))
    script = _BASH.format(
        values="\n".join(values), cases="\n".join(cases), first=first, supernets=" ".join(list_supernets())
    )
    sys.stdout.write(_ZSH + script if shell == "zsh" else script)


def options(name: str) -> list[str]:
    """The options of a command, as they are typed."""
    from trainers.cli.fit import OPTIONS
    from trainers.fit_folder import SHORT

    if COMMANDS[name].own_parser:
        short = SHORT if name == "fit" else ()
        return list(dict.fromkeys([*short, *OPTIONS, "--help", "--help_all"]))
    parameters = inspect.signature(COMMANDS[name].function).parameters.values()
    given = [f"--{one.name}" for one in parameters if one.default is not one.empty]
    writes = ["--overwrite"] if COMMANDS[name].files or COMMANDS[name].folders else []
    return list(dict.fromkeys([*given, "--config", *writes, "--help", "--help_all"]))


def _arguments(name: str) -> list[str]:
    """What may stand for a command's first argument: variables of the script."""
    if COMMANDS[name].own_parser:
        return ["$folders"]
    first = next(iter(inspect.signature(COMMANDS[name].function).parameters), "")
    return [*(["$supernets"] if first in _NAMED else []), *(["$folders"] if first in _FOLDERS else [])]


_NAMED, _FOLDERS = ("supernet", "model", "name"), ("supernet", "model", "folder")
"""First arguments that may be a named supernet, and a folder."""

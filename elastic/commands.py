"""The verbs of the command line that need no training data: inspect and profile; and what others show."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from rich import get_console
from rich.table import Column, Table
from typing_extensions import Unpack

from elastic.arch import Arch
from elastic.building import SupernetSource
from elastic.card import spell_check, spell_latency
from elastic.conformance import ARCHITECTURES, TRANSFORMERS, conform, markdown, summary
from elastic.conformance import table as conformance_table
from elastic.errors import ArchError, BudgetError, ProfileError
from elastic.export import Exported
from elastic.files import read_json, write_text
from elastic.inspection import inspect as inspect_supernet
from elastic.inspection import render
from elastic.kit import read_measured, write_kit
from elastic.measure import Setting
from elastic.plan import BLOCKS
from elastic.profile import FEWEST, DeviceProfile
from elastic.profiling import check_profile, measure_profile
from elastic.progress import progress_bar
from elastic.result import SearchResult
from elastic.storage import load_source, load_supernet
from elastic.supernet import Supernet
from elastic.timings import QUIET
from elastic.words import spell_bytes, spell_figure, spell_name


def inspect(
    model: str,
    model_args: dict[str, Any] | None = None,
    recipe: str | None = None,
    choices: dict[str, list[int | float] | None] | None = None,
    options: dict[str, Any] | None = None,
    couple: dict[str, str] | None = None,
) -> None:
    """Show what in a model is elastic, what is not and why, and what its subnets cost.

    Args:
        model: a timm model's name, transformers:NAME, or a trained supernet's folder (which needs no other argument).
        model_args: keyword arguments of `timm.create_model`, or fields of the configuration.
        recipe: the recipe's name; found by the model's class by default.
        choices: what to offer instead of the recipe's choices.
        options: the recipe's own options.
        couple: dims that follow another's choice, such as {"mid": "depth"}.
    """
    if Path(model).is_dir():
        source = load_source(model)
    else:
        source = SupernetSource(model, model_args or {}, recipe, choices or {}, options or {}, couple=couple or {})
    get_console().print(render(inspect_supernet(source.untrained().build())))


_Import = TypedDict("_Import", {"import": str}, total=False)
_Import.__doc__ = """An option whose name is a word of Python's.

Args:
    import: what a kit's script wrote, or the kit's folder: it becomes the profile, nothing is measured.
"""


def profile(
    supernet: str,
    out: str = "profile.json",
    runtime: str | None = None,
    device: str = "cpu",
    threads: int = 1,
    batch_size: int = 1,
    precision: str = "float32",
    resolutions: str = "",
    subnets: int = 32,
    blocks: int = BLOCKS,
    time_limit: float = 120.0,
    seed: int = 0,
    check: int = 0,
    accept_noise: bool = False,
    kit: str | None = None,
    **measured: Unpack[_Import],
) -> None:
    """Measure how long subnets and their blocks take on this device.

    Interrupted, the same command goes on where it stopped. A measurement that is too noisy to be trusted is written
    all the same, but ends with exit status 1.

    Args:
        supernet: a trained supernet's folder; or a name that elastic zoo list shows, for its pretrained weights.
        out: the JSON file to write; with --check, one that is there is checked.
        runtime: torch (eager; the default), torch.compile, onnxruntime or openvino; of a kit onnxruntime only.
        device: cpu or cuda.
        threads: threads within an operator, on the CPU.
        batch_size: inputs per forward pass.
        precision: float32; with torch or torch.compile also float16 or bfloat16, with openvino bfloat16.
        resolutions: measure at these only, such as 160,192; at all by default.
        subnets: how many whole subnets to measure.
        blocks: measure the blocks, too, unless there are more different ones than this.
        time_limit: seconds of measuring; preparing comes on top.
        seed: draws the subnets and the order of measuring.
        check: measure so many fresh random subnets, and compare them with what the profile predicts; not of a kit.
        accept_noise: end well even if the measurement is noisy.
        kit: don't measure; write a folder with models and a script that measures them with onnxruntime elsewhere.
        measured: `import`, as its class says.
    """
    setting = Setting(runtime or ("torch" if kit is None else "onnxruntime"), device, threads, batch_size, precision)
    setting.check()
    if kit is not None and (check or "import" in measured):
        raise ProfileError("a kit is measured elsewhere, by its measure.py; give --import and --check when it is back")
    trained = load_supernet(supernet)
    chosen: dict[str, Any] = {"subnets": subnets, "time_limit": time_limit, "blocks": blocks, "seed": seed}
    chosen |= {"resolutions": parse_resolutions(resolutions), "progress": True}
    if kit is not None:
        folder = write_kit(trained, kit, setting, **chosen)
        get_console().print(f"kit: {folder}; on the device, run its measure.py", highlight=False, soft_wrap=True)
        return
    if "import" in measured:
        found = read_measured(trained, measured["import"])
    elif check and Path(out).exists():
        found = load_profile(out, setting)
    else:
        found = measure_profile(trained, setting, out=out, **chosen)
    if check:
        found = found.with_check(check_profile(trained, found, check, time_limit, seed=seed + 1, progress=True))
    found.save(out)
    _show_profile(found, trained, out)
    if not (found.good or accept_noise):
        raise SystemExit(1)


def _show_profile(found: DeviceProfile, supernet: Supernet, out: str) -> None:
    console = get_console()
    console.print(profile_table(found, supernet))
    console.print(f"profile: {out}", highlight=False, soft_wrap=True)
    if found.objections:
        console.print(f"noisy: {'; '.join(found.objections)}. {QUIET}", style="red", highlight=False, soft_wrap=True)


def conformance(names: str = "", out: str | None = None) -> None:
    """Make architectures elastic, and compare: which sizes they get, and whether every subnet is exact.

    Ends with exit status 1 where one isn't.

    Args:
        names: of timm's architectures, or transformers:TYPE, separated by commas; by default all families, those of
            transformers where it is installed.
        out: a Markdown file to write the table to.
    """
    known = ARCHITECTURES + (TRANSFORMERS if find_spec("transformers") else ())
    wanted = names_in(names) or known
    rows = []
    with progress_bar("making elastic", len(wanted)) as advance:
        for name in wanted:
            rows.append(conform(name))
            advance(1)
    get_console().print(conformance_table(rows), summary(rows))
    if out is not None:
        write_text(Path(out), markdown(rows) + "\n")
    if not all(row.exact for row in rows):
        raise SystemExit(1)


COMMANDS: Mapping[str, Callable[..., None]] = {"inspect": inspect, "profile": profile, "conformance": conformance}
"""Verb → function; the command line is made from its signature and docstring."""


# --- what verbs are given -----------------------------------------------------------------------------------


def names_in(text: str) -> list[str]:
    """What is written with commas between."""
    return [name.strip() for name in text.split(",") if name.strip()]


def parse_resolutions(text: str) -> list[int]:
    """`160,192` as a list.

    Raises:
        ProfileError: not of that form.
    """
    words = names_in(text)
    if not all(word.isdecimal() for word in words):
        raise ProfileError(f"can't read the resolutions {text!r}; write them as 160,192")
    return [int(word) for word in words]


def load_profile(path: str, setting: Setting) -> DeviceProfile:
    """A profile that was measured with `setting`.

    Raises:
        ProfileError: it was measured with another, or isn't one.
    """
    found = DeviceProfile.load(path)
    differing = [name for name, value in asdict(setting).items() if value != getattr(found.setting, name)]
    if differing:
        name = differing[0]
        raise ProfileError(
            f"{path} was measured with {name} {getattr(found.setting, name)}, not {getattr(setting, name)}: "
            f"to check it give --{name} {getattr(found.setting, name)}; to measure anew, another --out"
        )
    return found


def parse_budget(text: str) -> dict[str, float]:
    """`latency_ms=8,macs=2e6` as a mapping.

    Raises:
        BudgetError: not of that form, or a figure that is there twice.
    """
    budget: dict[str, float] = {}
    for part in names_in(text):
        name, equals, value = part.partition("=")
        name = name.strip()
        if name in budget:
            raise BudgetError(f"the budget {text!r} has {name} twice; write it once")
        try:
            budget[name] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise BudgetError(f"can't read the budget {part!r}; write it as latency_ms=8, several with commas between")
    return budget


def choose_arch(supernet: Supernet, arch: str | None = None, result: str | None = None) -> Arch:
    """The arch that a user names.

    Args:
        supernet: whose arch it must be.
        arch: `smallest`, `largest`, JSON such as `{"depth": 3, …}`, or a file with such JSON.
        result: a search result, whose best arch is taken.

    Raises:
        ArchError: both or neither given, not an arch of this supernet, or another supernet's result.
        CheckpointError: no search result.
    """
    if (arch is None) == (result is None):
        raise ArchError("say which subnet: either --arch (smallest, largest, JSON or a file), or --result search.json")
    if result is not None:
        found = SearchResult.load(result)
        found.check_supernet(supernet)
        return found.best.arch
    assert arch is not None
    if arch in ("smallest", "largest"):
        return supernet.space.smallest if arch == "smallest" else supernet.space.largest
    if not arch.lstrip().startswith("{"):
        arch = json.dumps(read_json(arch, ArchError, "an arch: smallest, largest, JSON, or a file with it"))
    return supernet.space.arch(Arch.from_json(arch))


# --- what verbs show ----------------------------------------------------------------------------------------


def profile_table(measured: DeviceProfile, supernet: Supernet) -> Table:
    """What a profile says, in a few lines."""
    setting, times = measured.setting, measured.measured_ms
    noise = np.median([one.timing.uncertainty for one in measured.subnets]) * 100
    table = Table("device profile", "")
    versions = f"{setting.runtime} {measured.device.get(setting.runtime, '')}".strip()
    table.add_row("device", f"{measured.device['processor']}, {setting.threads} of {measured.device['cores']} cores")
    table.add_row("runtime", f"{versions}, batch {setting.batch_size}, {setting.precision}")
    blocks = f"{len(measured.blocks)} blocks" if measured.blocks else "no blocks (there are more than --blocks)"
    table.add_row("measured", f"{len(measured.subnets)} subnets, {blocks}; medians ± {noise:.1f} %")
    table.add_row("latency", f"{times.min():.3g} to {times.max():.3g} ms")
    if len(times) >= FEWEST:
        error = measured.prediction_error(supernet)
        table.add_row("prediction", f"error {error.mape:.1f} % (MAPE), Kendall τ {error.tau:.2f}, cross-validated")
    for check in measured.checks:
        coverage = f"{check.coverage:.0%} of measured within {check.nominal:.0%} intervals"
        noisy = " (noisy)" if check.objections else ""
        figures = f"error {check.mape:.1f} % (MAPE), Kendall τ {check.tau:.2f}, {coverage}{noisy}"
        table.add_row("check", f"{len(check.subnets)} fresh subnets: {figures}")
    return table


def export_table(written: Exported) -> Table:
    """The files of an export."""
    table = Table(Column("file", overflow="fold"), "size", "checked")
    for name, facts in written.files.items():
        checked = spell_check(facts)
        if checked and "runtime" in facts:
            batch = "" if facts["batch"] == "any" else f", batch {facts['batch']}"
            checked = f"in {facts['runtime']}{batch}: {checked}"
        checked = checked or ("strict on loading" if name.endswith(".safetensors") else "")
        table.add_row(str(written.folder / name), spell_bytes(facts["bytes"]) if "bytes" in facts else "", checked)
    table.add_row(str(written.folder / "config.json"), "", "")
    table.add_row(str(written.folder / "README.md"), "", "")
    return table


def latency_table(measured: Mapping[str, Any]) -> Table:
    """Latencies of an export's files, and what speaks against trusting them."""
    threads = f"{measured['threads']} thread{'s' if measured['threads'] > 1 else ''}"
    caption = f"noisy: {'; '.join(measured['objections'])}. Close other programs and measure again"
    title = f"latency on {measured['device']['processor']}, {threads}, batch {measured['batch_size']}"
    table = Table("file", "runtime", "latency", title=title, caption=caption if measured["objections"] else None)
    for row in measured["runs"]:
        table.add_row(row["file"], row["runtime"], spell_latency(row))
    return table


def result_table(result: SearchResult) -> Table:
    """The front of a search, its best marked, with what was measured again beside it."""
    objectives = [*result.maximize, *result.minimize]
    again = list(dict.fromkeys(name for one in result.candidates for name in one.measured))
    best = result.best
    titles = [*map(spell_name, objectives), *(f"{spell_name(name)},\nmeasured again" for name in again)]
    table = Table("", "arch", *titles)
    front = result.front
    for one in front if best in front else [best, *front]:
        figures = [spell_figure(name, one.figures[name]) for name in objectives]
        figures += [spell_figure(name, one.measured[name]) if name in one.measured else "" for name in again]
        table.add_row("best" if one == best else "", one.arch.id, *figures)
    return table

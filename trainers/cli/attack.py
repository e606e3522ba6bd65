"""`elastic attack`: accuracy of subnets under attack, checks for gradient masking, and certified accuracy."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainers.methods.norms import Norm

if TYPE_CHECKING:  # in quotes below: to resolve postponed annotations jsonargparse would import these
    from elastic.space.arch import Arch
    from elastic.supernet.supernet import Supernet
    from trainers.jobs.trained import Trained
    from trainers.robust.attack_report import Attacked
    from trainers.robust.attacks import Threat

_KIND = "elastic robustness"


def attack(
    supernet: str,
    archs: str | None = None,
    middles: int = 0,
    result: str | None = None,
    epsilon: str = "8/255",
    norm: Norm = "linf",
    attacks: str = "fgsm,pgd-20,apgd-ce",
    images: int = 1000,
    data: str | None = None,
    device: str = "cpu",
    out: str = "attack.json",
    report: str | None = None,
    *,
    front: int = 8,
    split: str = "test",
    batch: int = 250,
    sanity: bool = True,
    certify: float | None = None,
    samples: int = 1000,
    seed: int = 0,
    trust_code: bool = False,
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
        epsilon: how far an image may be moved, for pixels between 0 and 1: a number, or a fraction such as 8/255.
        norm: by which the distance is taken, linf or l2.
        attacks: separated by commas: fgsm, pgd, cw, apgd-ce, square, autoattack; with a number, so many steps
            (queries of square): pgd-50. Autoattack takes some 10,000 passes for an image that withstands it.
        images: to attack, at most.
        data: a folder of images (train/CLASS/*, val/CLASS/*), or a YAML file with a data section; the training run's
            own config.yaml by default.
        device: that subnets are attacked on: cpu, cuda, cuda:1, mps.
        out: the JSON file to write.
        report: an HTML page to write, too.
        front: how many of them.
        split: test, or val.
        batch: images at once.
        sanity: check for masked gradients, on 128 images.
        certify: standard deviation of a noise that subnets are smoothed by: certify their answers on 128 images.
        samples: noisy copies of an image that a certificate is made from.
        seed: of what attacks draw, and of random subnets.
        trust_code: run what the data section names: classes that aren't this project's, data sets that are fetched.
    """
    from elastic.support.files import write_json
    from elastic.support.progress import waiting
    from elastic.support.text import names_in
    from trainers.jobs.words import check_data

    check_data(supernet, data)

    with waiting("loading PyTorch"):
        from trainers.jobs.calibration import calibration_for
        from trainers.jobs.judge import held_out
        from trainers.jobs.trained import open_trained
        from trainers.robust.attacks import Threat, find_attack
        from trainers.robust.examiner import Examiner
        from trainers.robust.smoothing import Smoothing

    threat, names = Threat(norm, epsilon), list(dict.fromkeys(names_in(attacks)))
    for name in names:
        find_attack(name, norm)
    _check(names, split, seed, images=images, batch=batch, front=front, samples=samples)
    trained = open_trained(supernet, device, trust_code)
    chosen = parse_archs(trained.supernet, archs, middles, result, front, seed)
    shown = trained.data(data)
    batches, where = held_out(shown, split, images, batch)
    calibration = calibration_for(trained.supernet, shown)
    judge = Examiner(trained.supernet, batches, calibration, names, threat, seed, trained.recalibrate)
    smoothing = Smoothing(certify, n=samples) if certify is not None else None
    found = judge.examine_all(chosen, sanity, smoothing, examples=report is not None)
    notes = f"{where} Each may be moved by ε = {threat.epsilon} ({norm}). Intervals are Wilson's, 95 %."
    settings = {"norm": norm, "epsilon": epsilon, "attacks": names, "seed": seed, "sigma": certify, "notes": notes}
    described = {"kind": _KIND, "supernet": trained.digest, **settings}
    write_json(out, {**described, "subnets": [one.to_dict() for one in found]})
    _show(found, notes, out)
    if report is not None:
        command = f"elastic attack {supernet} --epsilon {epsilon} --norm {norm} --attacks {attacks} --out {out}"
        _report(report, trained, threat, found, notes, command)


def _report(
    path: str, trained: "Trained", threat: "Threat", found: "Sequence[Attacked]", notes: str, command: str
) -> None:
    """Write the page, and say where it is."""
    from pathlib import Path

    from elastic.support.console import show
    from trainers.robust.attack_report import write_attack_report

    title = f"Subnets of {Path(trained.place).name}, attacked"
    written = write_attack_report(path, title, trained.supernet, threat, found, notes, [("attack", command)])
    show(f"report: {written}")


def _check(attacks: Sequence[str], split: str, seed: int, **counts: int) -> None:
    from elastic.errors import UsageError

    if not attacks:
        raise UsageError("--attacks is empty: wanted one at least, such as pgd-20")
    if split not in ("test", "val"):
        raise UsageError(f"--split {split}: wanted test or val")
    if seed < 0:
        raise UsageError(f"--seed {seed}: wanted 0 or more")
    for name, number in counts.items():
        if number < 1:
            raise UsageError(f"--{name} {number}: wanted 1 or more")


def _show(found: "Sequence[Attacked]", notes: str, out: str) -> None:
    from elastic.support.console import show
    from trainers.robust.attack_report import attack_table, certified_table, check_table, suspects
    from trainers.robust.gradient_masking import MEANING

    show(attack_table(found))
    if found[0].checks:
        show(check_table(found))
    masked = suspects(found)
    if masked:
        show(f"{', '.join(masked)}: {MEANING}", style="red")
    if found[0].certified:
        show(certified_table(found))
    show(f"{notes}\nattack: {out}")


def parse_archs(
    supernet: "Supernet", archs: str | None, middles: int, result: str | None, front: int, seed: int
) -> "dict[str, Arch]":
    """The subnets to attack, by name; equal ones once, under the first name.

    Raises:
        UsageError: both subnets and a result, or none at all.
        ArchError: not an arch of this supernet.
        CheckpointError: no search result.
    """
    from pathlib import Path

    from elastic.errors import UsageError
    from elastic.searching.result import SearchResult
    from elastic.searching.verification import spread
    from elastic.support.text import names_in
    from trainers.cli.arguments import parse_arch
    from trainers.validation import distinct

    if archs is not None and result is not None:
        raise UsageError("say which subnets: either --archs, or --result search.json")
    named: dict[str, Arch] = {}
    if result is not None:
        searched = SearchResult.load(result)
        searched.check_supernet(supernet)
        found = [one.arch for one in spread(searched, front)]
        named = {one.id: one for one in found}
    elif archs is not None and archs.lstrip().startswith("{"):
        one = parse_arch(supernet, archs)
        named = {one.id: one}
    else:
        listed = names_in("smallest,largest" if archs is None else archs)
        named = {Path(name).stem: parse_arch(supernet, name) for name in listed}
    drawn = supernet.space.sample(seed, max(middles, 0))
    named |= {f"middle_{at}": arch for at, arch in enumerate(drawn, 1)}
    if not named:
        raise UsageError("no subnets: name some with --archs, such as smallest,largest, or say how many --middles")
    return distinct(named)

"""`elastic search`: the best subnets within a budget, what became of them when measured again, and a report."""

from typing import TYPE_CHECKING

from trainers.methods.norms import Norm

if TYPE_CHECKING:  # in quotes below: to resolve postponed annotations jsonargparse would import these
    from trainers.robust.attacks import Threat


def search(
    supernet: str,
    budget: str = "",
    profile: str | None = None,
    maximize: str | None = None,
    minimize: str | None = None,
    data: str | None = None,
    out: str = "search.json",
    report: str | None = None,
    extract: str | None = None,
    formats: str = "safetensors",
    *,
    algorithm: str | None = None,
    population: int = 16,
    generations: int = 6,
    predictor: int = 0,
    images: int = 2048,
    again: int = 8,
    cache: str | None = None,
    csv: str | None = None,
    threads: int = 1,
    seed: int = 0,
    robust: str | None = None,
    norm: Norm = "linf",
    robust_again: str = "apgd-ce",
) -> None:
    """Find the best subnets within a budget, by measured accuracy, and measure the best again.

    With --extract, the best becomes an ordinary model: from published weights to a network for a device in one command.
    Run again after it was stopped, it goes on where it was: what was measured is kept in the cache.

    Args:
        supernet: a trained supernet's folder; or a name that elastic zoo list shows, for its pretrained weights.
        budget: the largest values allowed, as 8ms, latency=8ms, macs=2M,params=4e6 or memory=3MiB.
        profile: a device profile, or a latency table of Once-for-All's (a YAML file, or a folder of them); needed for
            latency_ms. Several as phone=a.json,cpu=b.json, which makes latency_ms.phone and latency_ms.cpu.
        maximize: figures to maximise, separated by commas; what the data is judged by, by default: accuracy, of images.
        minimize: figures to minimise; latency_ms where there is a profile, else macs.
        data: a folder of images (train/CLASS/*, val/CLASS/*), or a YAML file with a data section; the training run's
            own config.yaml by default.
        out: the JSON file to write.
        report: an HTML page to write, too.
        extract: a folder to write the best subnet into, BatchNorm re-estimated, as elastic extract does.
        formats: for --extract: of safetensors, onnx, openvino, executorch, torch.export, onnx-int8 and openvino-int8,
            separated by commas.
        algorithm: linas, nsga2, nsga3, evolution, random or dynamic; chosen by what is asked for by default.
        population: subnets per generation.
        generations: how many; population × generations subnets are evaluated at most.
        predictor: measure so many random subnets, learn from them what the figures of all others are, and search those:
            then more can be asked (--population 100 --generations 100). 0: each evaluated subnet is measured.
        images: validation images to measure the accuracy on, at most.
        again: so many subnets of the front are measured again, on other images and on this device; 0: none.
        cache: keeps what was measured; beside `out` by default.
        csv: a table of all evaluated subnets to write, too.
        threads: threads that measuring the accuracy takes; small networks lose with more than one.
        seed: draws the subnets.
        robust: measure the accuracy under attack (pgd-20), too, within this ε, such as 8/255: the figure robust, which
            is maximised beside the accuracy by default.
        norm: of the attack, linf or l2.
        robust_again: the attack of the front's second measurement, as elastic attack takes it.
    """
    from itertools import starmap
    from pathlib import Path

    from rich import get_console

    from elastic.errors import UsageError
    from elastic.reporting.report import Report, write_csv, write_report
    from elastic.reporting.tables import result_table
    from elastic.searching.budget import latency_name, parse_limits
    from elastic.searching.learning import fit_figures
    from elastic.searching.search import search as run_search
    from elastic.shipping.writing import check_formats
    from elastic.supernet.folder import load_supernet
    from elastic.support.packages import require_packages
    from elastic.support.text import names_in
    from elastic.timing.backends import torch_threads
    from trainers.cli.arguments import load_profiles
    from trainers.judging import Judge, digest_data, find_data
    from trainers.robust.attacks import Threat
    from trainers.robust.statistics import recalibration_for
    from trainers.search_results import agreement, measured_again, prediction_note, predictor_note, summarize
    from trainers.shipping import write_subnet

    if report is not None:
        require_packages("--report", "plotly")
    if extract is not None:
        check_formats(names_in(formats), calibration=True)
    trained = load_supernet(supernet)
    profiles = load_profiles(profile, trained)
    for name, number in (("images", images), ("threads", threads)):
        if number < 1:
            raise UsageError(f"--{name} {number}: wanted 1 or more")
    shown = find_data(trained, supernet, data)
    threat = None if robust is None else Threat(norm, robust)
    judge = Judge(trained, shown, images, threat, robust_again, recalibration_for(supernet))
    wanted = shown.metric if threat is None else "accuracy,robust"
    latencies = [latency_name(name) for name in profiles]
    kept = cache or Path(out).with_suffix(_cache_suffix(images, threat, digest_data(supernet, data)))
    with torch_threads(threads):
        learned = {}
        if predictor:
            learned = fit_figures(trained, judge.validation, predictor, seed=seed, cache=kept, progress=True)
        result = run_search(
            trained,
            maximize=names_in(maximize or wanted),
            minimize=names_in(minimize or ",".join(latencies or ["macs"])),
            subject_to=parse_limits(budget),
            evaluate=None if learned else judge.validation,
            profile=profiles.get("", profiles or None),
            predict=learned,
            algorithm=algorithm,
            population=population,
            generations=generations,
            cache=kept,
            seed=seed,
            progress=True,
        )
        result.save(out)
        result = measured_again(trained, result, judge, profiles, again, seed)
        result.save(out)
    console = get_console()
    console.print(result_table(result))
    learned_notes = list(starmap(predictor_note, result.predictors.items()))
    for note in learned_notes:
        console.print(note, highlight=False)
    if extract is None:
        console.print(f"search: {out}; cut the best out with: {_extraction(supernet, out, data)}", highlight=False)
    else:
        best, subnet = result.best, judge.validation.subnet(result.best.arch)
        write_subnet(trained, subnet, best.arch, supernet, extract, formats, best.figures, shown)
    if csv is not None:
        console.print(f"table: {write_csv(result, csv)}", highlight=False)
    if report is not None:
        steps = [("search", f"elastic search {supernet} --budget {budget or '…'} --out {out}")]
        page = Report(
            f"Subnets of {supernet}",
            trained,
            result,
            summarize(trained, result),
            steps,
            agreement=agreement(result, profiles),
            front_notes=" ".join([*(prediction_note(one, trained) for one in profiles.values()), *learned_notes]),
        )
        console.print(f"report: {write_report(page, report)}", highlight=False)


def _cache_suffix(images: int, threat: "Threat | None", data: str) -> str:
    """How a cache is called: it belongs to one way of measuring, and to the data with this digest."""
    return f".{images}-images-{data}{'' if threat is None else f'-{threat.norm}-{threat.radius:.4f}'}.jsonl"


def _extraction(supernet: str, out: str, data: str | None) -> str:
    return f"elastic extract {supernet} --result {out}" + ("" if data is None else f" --data {data}")

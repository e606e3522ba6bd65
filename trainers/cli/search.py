"""`elastic search`: the best subnets within a budget, measured again, and a report."""

from trainers.methods.norms import Norm


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
    again_seconds: float = 20.0,
    cache: str | None = None,
    csv: str | None = None,
    threads: int = 1,
    device: str = "cpu",
    seed: int = 0,
    robust: str | None = None,
    norm: Norm = "linf",
    robust_again: str = "apgd-ce",
    trust_code: bool = False,
) -> None:
    """Find the best subnets within a budget, by measured accuracy, and measure the best again.

    With --extract, the best becomes an ordinary model: from published weights to a network for a device in one command.
    Run again after it was stopped, it goes on where it was: what was measured is kept in the cache.

    Args:
        supernet: a trained supernet's folder; or a name that elastic zoo list shows, for its pretrained weights.
        budget: the largest values allowed, as 8ms, latency=8ms, macs=2M,params=4e6 or memory=3MiB.
        profile: a device profile, or a latency table of Once-for-All's (a YAML file, or a folder of them); needed for
            latency_ms. Several as phone=a.json,cpu=b.json, which makes latency_ms.phone and latency_ms.cpu.
        maximize: metrics to maximise, separated by commas; what the data is judged by, by default: accuracy, of images.
        minimize: metrics to minimise; latency_ms where there is a profile, else macs.
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
        predictor: measure so many random subnets, learn from them what the metrics of all others are, and search those:
            then more can be asked (--population 100 --generations 100). 0: each evaluated subnet is measured.
        images: validation images to measure the accuracy on, at most.
        again: so many subnets of the front are measured again, on other images and on this device; 0: none.
        again_seconds: how long their latencies are measured, at most.
        cache: keeps what was measured; beside `out` by default.
        csv: a table of all evaluated subnets to write, too.
        threads: threads that measuring the accuracy takes; small networks lose with more than one.
        device: that metrics are measured on: cpu, cuda, cuda:1, mps.
        seed: draws the subnets.
        robust: measure the accuracy under attack (pgd-20), too, within this ε, such as 8/255: the metric robust, which
            is maximised beside the accuracy by default.
        norm: of the attack, linf or l2.
        robust_again: the attack of the front's second measurement, as elastic attack takes it.
        trust_code: run what the data section names: classes that aren't this project's, data sets that are fetched.
    """
    from elastic.searching.limits import parse_limits
    from elastic.support.packages import require_packages
    from elastic.support.progress import waiting
    from elastic.support.text import names_in
    from trainers.cli.arguments import check_profiles, load_profiles, profile_paths
    from trainers.jobs.goals import Goals, check_names, metrics_on_offer
    from trainers.jobs.words import check_data

    if report is not None:
        require_packages("--report", "plotly")
    limits = parse_limits(budget)
    offered = metrics_on_offer(profile_paths(profile), robust is not None)
    goals_named = {"--maximize": names_in(maximize or ""), "--minimize": names_in(minimize or ""), "--budget": limits}
    for option, names in goals_named.items():
        check_names(option, names, offered)
    check_profiles(profile)
    check_data(supernet, data)

    with waiting("loading PyTorch"):
        from elastic.shipping.writing import check_formats
        from trainers.jobs.search import Effort, Judging, Outputs, find_best, write_results
        from trainers.jobs.trained import open_trained
        from trainers.robust.attacks import Threat

    check_formats(names_in(formats), calibration=True)
    effort = Effort(algorithm, population, generations, predictor, again, again_seconds, threads, seed)
    judging = Judging(data, images, None if robust is None else Threat(norm, robust), robust_again)
    trained = open_trained(supernet, device, trust_code)
    goals = Goals(limits, maximize, minimize, load_profiles(profile, trained.supernet))
    judge = judging.judge(trained)
    found = find_best(trained.supernet, judge, goals, effort, cache or judging.cache(judge, out), out)
    write_results(trained, found, judge, goals, Outputs(out, csv, report, extract, formats), data)

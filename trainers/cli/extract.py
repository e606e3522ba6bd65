"""`elastic extract`: cut a subnet out of a trained supernet."""

from __future__ import annotations


def extract(
    supernet: str,
    arch: str | None = None,
    result: str | None = None,
    out: str = "subnet",
    formats: str = "safetensors",
    data: str | None = None,
) -> None:
    """Cut a subnet out of a trained supernet: an ordinary model, in a folder of its own.

    BatchNorm statistics are re-estimated on training images where the model has any; on made-up ones where there are no
    others, and such come with the weights.

    Args:
        supernet: a trained supernet's folder; or a name that elastic zoo list shows, for its pretrained weights.
        arch: which subnet: smallest, largest, JSON such as {"depth": 3, ...}, or a file with such JSON.
        result: a search result, whose best subnet is taken.
        out: the folder to write.
        formats: as for elastic export, separated by commas; safetensors is always among them.
        data: a folder of images (train/CLASS/*, val/CLASS/*), or a YAML file with a data section; the training run's
            own config.yaml by default.
    """
    from pathlib import Path

    from elastic.layers.batchnorm import has_batchnorm
    from elastic.searching.result import SearchResult
    from elastic.shipping.writing import needs_inputs
    from elastic.supernet.folder import is_name, load_supernet
    from elastic.support.text import names_in
    from trainers.cli.arguments import choose_arch
    from trainers.judging import calibrated, find_data
    from trainers.robust.statistics import recalibration_for
    from trainers.shipping import write_subnet
    from zoo.calibration import calibration

    trained = load_supernet(supernet)
    chosen = choose_arch(trained, arch, result)
    # without BatchNorm, all that the data adds is what the card says
    made_up = calibration(supernet) if data is None and is_name(supernet) else []
    needed = has_batchnorm(trained) or needs_inputs(names_in(formats))
    wanted = data is not None or (Path(supernet) / "config.yaml").exists() or (needed and not made_up)
    images = find_data(trained, supernet, data) if wanted else None
    subnet = calibrated(trained, chosen, images, made_up, recalibration_for(supernet))
    figures = {} if result is None else dict(SearchResult.load(result).best.figures)
    write_subnet(trained, subnet, chosen, supernet, out, formats, figures, images, made_up)

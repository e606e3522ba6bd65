"""`elastic extract`: cut a subnet out of a trained supernet."""

from __future__ import annotations


def extract(
    supernet: str,
    arch: str | None = None,
    result: str | None = None,
    out: str = "subnet",
    formats: str = "safetensors",
    data: str | None = None,
    *,
    device: str = "cpu",
    trust_code: bool = False,
) -> None:
    """Cut a subnet out of a trained supernet: an ordinary model, in a folder of its own.

    BatchNorm statistics are re-estimated on training images where the model has any; on made-up ones where there are no
    others, and such come with the weights. Those of an exported subnet are kept.

    Args:
        supernet: a trained supernet's folder, or that of an exported subnet; or a name that elastic zoo list shows, for
            its pretrained weights.
        arch: which subnet: smallest, largest, what differs from the largest as depth=2,mid=64 or as JSON, or a file
            with a whole arch as JSON.
        result: a search result, whose best subnet is taken.
        out: the folder to write.
        formats: as for elastic export, separated by commas; safetensors is always among them.
        data: a folder of images (train/CLASS/*, val/CLASS/*), or a YAML file with a data section; the training run's
            own config.yaml by default.
        device: that BatchNorm statistics are re-estimated on: cpu, cuda, cuda:1, mps.
        trust_code: run what the data section names: classes that aren't this project's, data sets that are fetched.
    """
    from elastic.support.progress import waiting
    from elastic.support.text import names_in

    with waiting("loading PyTorch"):
        from elastic.layers.batchnorm import has_batchnorm
        from elastic.shipping.writing import check_formats, needs_inputs
        from trainers.cli.arguments import choose_subnet
        from trainers.jobs.calibration import calibrated
        from trainers.jobs.trained import keep_statistics, open_trained
        from trainers.jobs.write_subnet import write_subnet

    check_formats(names_in(formats), calibration=True)
    trained = open_trained(supernet, device, trust_code)
    chosen, measured = choose_subnet(trained.supernet, arch, result)
    made_up = trained.made_up if data is None else []
    # without BatchNorm, and of a subnet that has its statistics, all that the data adds is what the card says
    estimated = has_batchnorm(trained.supernet) and trained.recalibrate is not keep_statistics
    needed = (estimated or needs_inputs(names_in(formats))) and not made_up
    images = trained.data(data) if data is not None or trained.has_data or needed else None
    subnet = calibrated(trained.supernet, chosen, images, made_up, trained.recalibrate)
    write_subnet(trained, subnet, chosen, measured, out, formats, images, made_up)

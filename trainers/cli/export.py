"""`elastic export`: an extracted subnet in the formats of other runtimes; checked, measured, published."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # in quotes below: to resolve postponed annotations jsonargparse would import these
    from elastic.shipping.export import Exported
    from elastic.shipping.loading import OpenedSubnet
    from elastic.supernet.evaluation import Batch


def export(
    folder: str,
    formats: str = "safetensors,onnx",
    out: str | None = None,
    data: str | None = None,
    images: int = 1000,
    latency: bool = False,
    threads: int = 1,
    push: str | None = None,
    private: bool = False,
    *,
    device: str = "cpu",
    trust_code: bool = False,
) -> None:
    """Write an extracted subnet in other formats, each checked against PyTorch's output.

    Args:
        folder: what elastic extract wrote.
        formats: of safetensors, onnx, openvino, executorch, torch.export, and in int8 onnx-int8 and openvino-int8,
            separated by commas.
        out: the folder to write; by default the files are added to `folder`.
        data: real inputs to check on, that int8 needs: a folder of images (train/CLASS/*, val/CLASS/*), or a YAML file
            with a data section; what comes with a named supernet's weights by default.
        images: validation images that int8's accuracy is measured on, in whole batches.
        latency: measure each file's latency in its runtime, and PyTorch's.
        threads: that each runtime may use meanwhile.
        push: OWNER/NAME, to publish the folder on the Hugging Face hub.
        private: make a new repository there visible to its owner only.
        device: that PyTorch's own accuracy, before int8, is measured on: cpu, cuda, cuda:1, mps; files run on the CPU.
        trust_code: run what the data section names: classes that aren't this project's, data sets that are fetched.
    """
    from dataclasses import replace
    from pathlib import Path

    from elastic.support.progress import waiting
    from elastic.support.text import names_in

    with waiting("loading PyTorch"):
        from elastic.shipping.card import ModelCard
        from elastic.shipping.example import made_up_batch
        from elastic.shipping.export import export as export_subnet
        from elastic.shipping.loading import open_subnet
        from elastic.shipping.pushing import check_repo
        from elastic.shipping.pushing import push as push_folder
        from elastic.shipping.writing import check_formats
        from elastic.support.console import show
        from elastic.upstream.transformers import copy_tokenizer
        from trainers.jobs.trained import check_device

    check_device(device)
    if push is not None:
        check_repo(push)
    check_formats(names_in(formats), calibration=True)
    opened = open_subnet(folder)
    subnet, config = opened.subnet, opened.config
    card = ModelCard(metrics=config.get("metrics", {}), **_facts(config.get("card", {})))
    inputs, labelled, name = _samples(opened, folder, data, images, trust_code)
    with waiting(f"writing {formats}"):
        written = export_subnet(
            subnet,
            out or folder,
            # with the same weights beside them, the files that are there stay
            names_in(formats) if out else ["safetensors", *names_in(formats)],
            example=None
            if inputs
            else made_up_batch(subnet, config.get("input_size") or [], text=bool(config.get("inputs"))),
            arch=opened.arch,
            source=opened.source,
            card=replace(card, data=card.data or name),
            preprocessing=config.get("preprocessing") or None,
            calibration=inputs,
            validation=labelled,
            latency=latency,
            threads=threads,
            device=device,
        )
    if Path(folder).resolve() != written.folder.resolve():
        copy_tokenizer(folder, written.folder)
    _show(written)
    if push is not None:
        page = push_folder(written.folder, push, private)
        show(f"published: {page}")


def _show(written: "Exported") -> None:
    """Tables of the files, and of their latencies where these were measured."""
    from elastic.reporting.tables import export_table, latency_table
    from elastic.support.console import show

    show(export_table(written))
    if written.latency:
        show(latency_table(written.latency))


def _facts(card: "dict[str, Any]") -> "dict[str, Any]":
    """What a card says beside metrics, of the fields that this version has."""
    return {name: card[name] for name in ("title", "data", "license", "classes", "text") if name in card}


def _samples(
    opened: "OpenedSubnet", folder: str, data: str | None, images: int, trust_code: bool
) -> "tuple[list[Any], list[Batch], str]":
    """Inputs of the subnet's size to calibrate on, labelled ones to judge on, and what the data is called."""
    from dataclasses import replace

    from elastic.supernet.evaluation import resized
    from trainers.jobs.calibration import samples
    from trainers.jobs.judge import name_of
    from trainers.jobs.trained import of_subnet

    trained = of_subnet(opened, folder)
    if data is None:
        return resized(trained.supernet, opened.arch, trained.made_up), [], ""
    found = replace(trained, trust_code=trust_code).data(data)
    return *samples(trained.supernet, opened.arch, found, images), name_of(found)

"""Once-for-All's published files and folders with random weights, and the supernets that they are imported into."""

import copy
import json
from functools import cache

import reference
import torch

import zoo
from zoo.published.load import load_reference

RESOLUTIONS = [128, 132, 156, 224]  # 132 and 156 make odd sides inside


@cache
def drawn(name):
    return reference.draw(reference.supernet_shapes(name))


@cache
def imported(name):
    supernet = zoo.create(name, resolutions=RESOLUTIONS)
    load_reference(supernet.model, drawn(name), name, elastic=True)
    return supernet.eval()


def write(path, state, **others):
    torch.save({"state_dict": state, **others}, path)
    return path


def images(side, count=1):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def error(found, wanted):
    return ((found - wanted).norm() / wanted.norm()).item()


def older(config):
    """A `net.config` in the words of before 2020."""
    config = copy.deepcopy(config)
    for block in config["blocks"]:
        block |= {"name": "MobileInvertedResidualBlock", "mobile_inverted_conv": block.pop("conv")}
        block["mobile_inverted_conv"]["name"] = "MBInvertedConvLayer"
    return config


def publish(folder, config, state, side=160):
    folder.mkdir(exist_ok=True)
    (folder / "net.config").write_text(json.dumps(config))
    (folder / "run.config").write_text(json.dumps({"image_size": side}))
    torch.save({"state_dict": state}, folder / "init")
    return folder

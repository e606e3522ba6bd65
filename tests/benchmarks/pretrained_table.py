"""A pretrained timm model becomes a supernet: its largest subnet still knows what it knew.

    python tests/benchmarks/pretrained_table.py --data FOLDER

MobileNetV2 with ImageNet weights, on 1,000 photographs, one a class (FOLDER/imagenet_1k_sample and FOLDER/weights):
they are probably training images, so this is a check that nothing was lost, and no accuracy.
"""

import argparse
import io
import sys
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.transforms import functional as V

import elastic
from elastic.support.progress import progress_bar


def photographs(folder: Path) -> tuple[Tensor, Tensor]:
    """Images `(1000, 3, 224, 224)` between -1 and 1, centre crops, and their classes."""
    packed = np.load(folder / "imagenet_1k_sample" / "imagenet_samples_1k_256.npz")
    blob, offsets = packed["blob"].tobytes(), packed["offset"]
    images = []
    for at in range(len(packed["label"])):
        photograph = Image.open(io.BytesIO(blob[offsets[at] : offsets[at + 1]])).convert("RGB")
        images.append(V.pil_to_tensor(V.center_crop(V.resize(photograph, 256), 224)))
    return torch.stack(images) / 127.5 - 1, torch.from_numpy(packed["label"]).long()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Percent of the photographs whose class scores highest; class 0 of the model is the background."""
    right = 0
    with progress_bar("judging", len(images)) as advance:
        for part, wanted in zip(images.split(50), labels.split(50), strict=True):
            right += int((model(part).argmax(1) == wanted + 1).sum())
            advance(len(part))
    return 100 * right / len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    images, labels = photographs(given.data)
    model = timm.create_model("mobilenetv2_100", num_classes=1001, pad_type="same").eval()
    weights = load_file(given.data / "weights" / "mobilenetv2_100_timm_fp16.safetensors")
    model.load_state_dict({name: tensor.to(model.state_dict()[name].dtype) for name, tensor in weights.items()})
    lines = ["| network | right, % of 1,000 |", "|---|---|"]
    lines.append(f"| as published | {accuracy(model, images, labels):.1f} |")
    supernet = elastic.elasticize(model)
    lines.append(f"| after `elasticize` | {accuracy(supernet, images, labels):.1f} |")
    supernet.sort(elastic.importance(supernet, "l1"))
    lines.append(f"| after `sort` by importance | {accuracy(supernet, images, labels):.1f} |")
    largest = supernet.extract(supernet.space.largest)
    lines.append(f"| the largest subnet, cut out | {accuracy(largest, images, labels):.1f} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

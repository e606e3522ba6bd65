"""Makes the images that come with `ofa_mbv3_fashion_mnist`, for BatchNorm statistics where there are no real ones.

    python tests/benchmarks/made_up_images.py FOLDER images.safetensors

FOLDER is torchvision's of Fashion-MNIST. The training images of each class are put into 8 clusters; from the Gaussian
of each cluster (its mean and 48 principal components) images are drawn. None of them is an image of the data set.
"""

import math
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from sklearn.cluster import KMeans
from torch import Tensor
from torchvision.datasets import FashionMNIST

IMAGES, CLUSTERS, COMPONENTS = 512, 8, 48


def draw(images: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """`n` images from the Gaussian of `images`, each a row."""
    mean = images.mean(0)
    _, scales, directions = torch.pca_lowrank(images - mean, min(COMPONENTS, len(images) - 1), niter=4)
    drawn = torch.randn(n, len(scales), generator=generator) * scales / math.sqrt(len(images))
    return mean + drawn @ directions.T


def main() -> None:
    root, out = sys.argv[1:]
    torch.manual_seed(0)
    data, generator, drawn = FashionMNIST(root, train=True), torch.Generator().manual_seed(0), []
    rows = data.data.flatten(1).float()
    for label in range(10):
        own = rows[data.targets == label]
        clusters = torch.from_numpy(KMeans(CLUSTERS, n_init=1, random_state=0).fit_predict(own.numpy()))
        for cluster in range(CLUSTERS):
            members = own[clusters == cluster]
            drawn.append(draw(members, max(1, round(IMAGES * len(members) / len(rows))), generator))
    images = torch.cat(drawn)
    images = images[torch.randperm(len(images), generator=generator)].clamp(0, 255).round().byte().view(-1, 1, 28, 28)
    save_file({"images": images}, out)
    Path(out).chmod(0o644)


if __name__ == "__main__":
    main()

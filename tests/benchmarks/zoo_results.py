"""Test accuracy of a supernet that comes with the package, for its card: BatchNorm from made-up and from real images.

    python tests/benchmarks/zoo_results.py ofa_mbv3_fashion_mnist data.yaml

data.yaml has the data section of the training (its config.yaml does).
"""

import math
import sys

import zoo
from elastic.supernet.evaluation import MeasuredAccuracy
from trainers.jobs.calibration import calibration_images
from trainers.jobs.data_section import load_data


def main() -> None:
    name, config = sys.argv[1:]
    supernet, data = zoo.load(name), load_data(config)
    space = supernet.space
    middle = space.arch({dim.name: dim.choices[len(dim.choices) // 2] for dim in space.dims})
    test = list(data.test_dataloader())
    count = sum(len(labels) for _, labels in test)
    judges = {"made up": MeasuredAccuracy(supernet, test, zoo.calibration(name)),
              "real": MeasuredAccuracy(supernet, test, calibration_images(data)),
              "as they come": MeasuredAccuracy(supernet, test)}  # fmt: skip
    for label, arch in (("smallest", space.smallest), ("middle", middle), ("largest", space.largest)):
        shares = {kind: judge(arch)["accuracy"] for kind, judge in judges.items()}
        cells = [f"{kind} {one:.2f} ± {math.sqrt(one * (100 - one) / count):.2f} %" for kind, one in shares.items()]
        macs = supernet.macs([arch])[0] / 1e6
        sys.stdout.write(f"{label} ({macs:.2f} M MACs, n = {count}): {', '.join(cells)}\n")


if __name__ == "__main__":
    main()

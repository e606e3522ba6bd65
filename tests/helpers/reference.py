"""Once-for-All's networks written out slowly, from the paper and its files' format: nothing of ours, nothing of timm.
ProARD's are the same for small images: with fewer strides, no pooling behind the stem, and ten classes.

A supernet's subnet is made in two obvious steps: slice the supernet's tensors (`specialise`), then run what its
`net.config` describes, layer by layer (`run`). Weights are drawn from the names of their keys, so that no test needs
a download, and every network always has the same ones.
"""

import zlib
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

MOBILE = ("ofa_mbv3_d234_e346_k357_w1.0", "ofa_mbv3_d234_e346_k357_w1.2", "ofa_proxyless_d234_e346_k357_w1.3")
RESNET = "ofa_resnet50"
NAMES = (*MOBILE, RESNET)
PROARD = ("proard_mbv3_cifar", "proard_mbv2_cifar", "proard_resnet50_cifar")
KEYS = dict(zip((*NAMES, *PROARD), (475, 475, 446, 368, 475, 446, 368), strict=True))
"""How many entries the published files have, and those that ProARD's code writes."""

STEM_RATIOS = (0.65, 0.8, 1.0)
EXPAND_RATIOS = (0.2, 0.25, 0.35)


def divisible(value: float) -> int:
    """The nearest multiple of 8, not more than a tenth below."""
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * value else rounded + 8


# --- what a subnet's net.config says ------------------------------------------------------------------------


def config_of(name: str, arch: dict) -> dict:
    """The `net.config` of a subnet, as the reference writes it for `{"ks", "e", "d"}` or `{"d", "e", "w"}`."""
    return resnet_config(name, arch) if "resnet" in name else mobile_config(name, arch)


def conv_config(before: int, after: int, kernel: int, stride: int, act: str, norm: bool = True) -> dict:
    layer = {"name": "ConvLayer", "kernel_size": kernel, "stride": stride, "dilation": 1, "groups": 1, "bias": False}
    layer |= {"has_shuffle": False, "in_channels": before, "out_channels": after, "use_bn": norm, "act_func": act}
    return layer | {"dropout_rate": 0, "ops_order": "weight_bn_act"}


def linear_config(name: str, before: int) -> dict:
    classes = 10 if name in PROARD else 1000
    return {"name": "LinearLayer", "in_features": before, "out_features": classes, "bias": True, "dropout_rate": 0}


def residual_config(conv: dict, skips: bool) -> dict:
    return {"name": "ResidualBlock", "conv": conv, "shortcut": {"name": "IdentityLayer"} if skips else None}


def mobile_stages(name: str) -> list[tuple[int, int, int, bool, str]]:
    """Width, stride, number of blocks, squeeze-and-excitation and activation of each elastic stage."""
    first = 1 if name in PROARD else 2
    if "mbv3" in name:
        widths, strides, blocks = (24, 40, 80, 112, 160), (first, 2, 2, 1, 2), (4, 4, 4, 4, 4)
        squeezes, acts = (False, True, False, True, True), ("relu", "relu", "h_swish", "h_swish", "h_swish")
    else:
        widths, strides, blocks = (24, 40, 80, 96, 192, 320), (first, 2, 2, 1, 2, 1), (4, 4, 4, 4, 4, 1)
        squeezes, acts = (False,) * 6, ("relu6",) * 6
    return list(zip(widths, strides, blocks, squeezes, acts, strict=True))


def mobile_config(name: str, arch: dict) -> dict:
    scale, v3 = 1.0 if name in PROARD else float(name.rpartition("w")[2]), "mbv3" in name
    stem, first, act = (16, 16, "h_swish") if v3 else (32, 16, "relu6")
    width, after = divisible(stem * scale), divisible(first * scale)
    conv = mobile_block(width, after, 3, 1, 1, False, "relu" if v3 else "relu6")
    blocks, number = [residual_config(conv, width == after)], 0
    stem, width = width, after
    for stage, (channels, stride, full, squeeze, inside) in enumerate(mobile_stages(name)):
        after = divisible(channels * scale)
        for index in range(full):
            if index < arch["d"][stage]:
                step = stride if index == 0 else 1
                conv = mobile_block(width, after, arch["ks"][number], step, arch["e"][number], squeeze, inside)
                blocks.append(residual_config(conv, step == 1 and width == after))
                width = after
            number += 1
    config = {
        "name": "MobileNetV3" if v3 else "ProxylessNASNets",
        "bn": {"momentum": 0.1, "eps": 1e-5 if v3 or name in PROARD else 1e-3},
        "first_conv": conv_config(3, stem, 3, 1 if name in PROARD else 2, act),
        "blocks": blocks,
    }
    if v3:
        last = divisible(960 * scale)
        config["final_expand_layer"] = conv_config(width, last, 1, 1, act)
        width = last
    mix = divisible(1280 * scale)
    config["feature_mix_layer"] = conv_config(width, mix, 1, 1, act, norm=not v3)
    return config | {"classifier": linear_config(name, mix)}


def mobile_block(before: int, after: int, kernel: int, stride: int, expand: int, squeeze: bool, act: str) -> dict:
    return {
        "name": "MBConvLayer",
        "in_channels": before,
        "out_channels": after,
        "kernel_size": kernel,
        "stride": stride,
        "expand_ratio": expand,
        "mid_channels": None if expand == 1 else divisible(round(before * expand)),
        "act_func": act,
        "use_se": squeeze,
    }


def resnet_config(name: str, arch: dict) -> dict:
    width = divisible(64 * STEM_RATIOS[arch["w"][1]])
    inside = divisible(divisible(64 * STEM_RATIOS[arch["w"][0]]) // 2)
    stem = [conv_config(3, inside, 3, 1 if name in PROARD else 2, "relu"), conv_config(inside, width, 3, 1, "relu")]
    if arch["d"][0] == 2:
        stem.insert(1, residual_config(conv_config(inside, inside, 3, 1, "relu"), True))
    blocks, number = [], 0
    for stage, (channels, base) in enumerate(zip((256, 512, 1024, 2048), (2, 2, 4, 2), strict=True)):
        after = divisible(channels * STEM_RATIOS[arch["w"][stage + 2]])
        for index in range(base + 2):
            if index < base + arch["d"][stage + 1]:
                stride = 2 if index == 0 and stage > 0 else 1
                blocks.append(bottleneck_config(name, width, after, stride, arch["e"][number]))
                width = after
            number += 1
    bn = {"momentum": 0.1, "eps": 1e-5}
    classifier = linear_config(name, width)
    return {"name": "ResNets", "bn": bn, "input_stem": stem, "blocks": blocks, "classifier": classifier}


def bottleneck_config(name: str, before: int, after: int, stride: int, expand: float) -> dict:
    return {
        "name": "ResNetBottleneckBlock",
        "in_channels": before,
        "out_channels": after,
        "kernel_size": 3,
        "stride": stride,
        "expand_ratio": expand,
        "mid_channels": divisible(round(after * expand)),
        "act_func": "relu",
        "groups": 1,
        "downsample_mode": "conv" if name in PROARD else "avgpool_conv",
    }


def largest(name: str) -> dict:
    """The published encoding of the whole supernet."""
    if "resnet" in name:
        return {"d": [2] * 5, "e": [0.35] * 18, "w": [2] * 6}
    count = 20 if "mbv3" in name else 21
    return {"ks": [7] * count, "e": [6] * count, "d": [stage[2] for stage in mobile_stages(name)]}


# --- which tensors there are --------------------------------------------------------------------------------


def shapes_of(config: dict, elastic: bool = False) -> dict[str, tuple[int, ...]]:
    """Shapes by key, of a specialised network's file; or of the supernet's whose largest subnet `config` is."""
    found: dict[str, tuple[int, ...]] = {}
    for name, shape, norm, repeats in convolutions(config):
        again = repeats and elastic
        found[f"{name}.conv.conv.weight" if again else f"{name}.conv.weight"] = shape
        if again and name.endswith("depth_conv"):
            found |= {f"{name}.conv.7to5_matrix": (25, 25), f"{name}.conv.5to3_matrix": (9, 9)}
        for tensor in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked") if norm else ():
            length = () if tensor == "num_batches_tracked" else (shape[0],)
            found[f"{name}.bn.bn.{tensor}" if again else f"{name}.bn.{tensor}"] = length
        if name.endswith("depth_conv") and config["blocks"][int(name.split(".")[1])]["conv"]["use_se"]:
            mid = shape[0]
            squeezed = divisible(mid // 4)
            found |= {f"{name}.se.fc.reduce.weight": (squeezed, mid, 1, 1), f"{name}.se.fc.reduce.bias": (squeezed,)}
            found |= {f"{name}.se.fc.expand.weight": (mid, squeezed, 1, 1), f"{name}.se.fc.expand.bias": (mid,)}
    linear = "classifier.linear.linear" if elastic and config["name"] == "ResNets" else "classifier.linear"
    classes, features = config["classifier"]["out_features"], config["classifier"]["in_features"]
    return found | {f"{linear}.weight": (classes, features), f"{linear}.bias": (classes,)}


def convolutions(config: dict) -> Iterator[tuple[str, tuple[int, ...], bool, bool]]:
    """Name, shape, whether a norm follows and whether it is elastic in a supernet, of each convolution."""

    def plain(layer: dict) -> tuple[int, ...]:
        return layer["out_channels"], layer["in_channels"], layer["kernel_size"], layer["kernel_size"]

    for at, layer in enumerate(config.get("input_stem", ())):
        yield (f"input_stem.{at}.conv", plain(layer["conv"]), True, True) if "conv" in layer else (
            f"input_stem.{at}", plain(layer), True, True)  # fmt: skip
    if "first_conv" in config:
        yield "first_conv", plain(config["first_conv"]), True, False
    for number, block in enumerate(config["blocks"]):
        yield from bottleneck(number, block) if config["name"] == "ResNets" else inverted(number, block["conv"])
    for name in ("final_expand_layer", "feature_mix_layer"):
        if name in config:
            yield name, plain(config[name]), config[name]["use_bn"], False


def inverted(number: int, conv: dict) -> Iterator[tuple[str, tuple[int, ...], bool, bool]]:
    before, after, kernel = conv["in_channels"], conv["out_channels"], conv["kernel_size"]
    mid = conv["mid_channels"] or before
    if conv["expand_ratio"] != 1:
        yield f"blocks.{number}.conv.inverted_bottleneck", (mid, before, 1, 1), True, number > 0
    yield f"blocks.{number}.conv.depth_conv", (mid, 1, kernel, kernel), True, number > 0
    yield f"blocks.{number}.conv.point_linear", (after, mid, 1, 1), True, number > 0


def bottleneck(number: int, block: dict) -> Iterator[tuple[str, tuple[int, ...], bool, bool]]:
    before, mid, after = block["in_channels"], block["mid_channels"], block["out_channels"]
    yield f"blocks.{number}.conv1", (mid, before, 1, 1), True, True
    yield f"blocks.{number}.conv2", (mid, mid, 3, 3), True, True
    yield f"blocks.{number}.conv3", (after, mid, 1, 1), True, True
    if before != after:
        yield f"blocks.{number}.downsample", (after, before, 1, 1), True, True


def supernet_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Shapes by key of a supernet's published file."""
    return shapes_of(config_of(name, largest(name)), elastic=True)


def draw(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights drawn from keys and shapes: norms' too, since ones and zeros hide a wrong slice."""
    state = {}
    for key, shape in shapes.items():
        generator = torch.Generator().manual_seed(zlib.crc32(f"{key} {shape}".encode()))
        noise = torch.randn(shape, generator=generator)
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(1)
        elif key.endswith("_matrix"):
            state[key] = torch.eye(shape[0]) + 0.2 * noise
        elif key.endswith("running_var"):
            state[key] = torch.rand(shape, generator=generator) + 0.5
        elif len(shape) > 1:
            state[key] = noise * (2 / noise[0].numel()) ** 0.5
        elif "bn" in key and key.endswith("weight"):
            last = "point_linear" in key or "conv3" in key  # small, or each block would double the signal
            state[key] = (1 + 0.2 * noise) * (0.4 if last else 1)
        else:
            state[key] = 0.2 * noise
    return state


# --- a subnet out of a supernet -----------------------------------------------------------------------------


def specialise(name: str, supernet: dict[str, Tensor], arch: dict) -> dict[str, Tensor]:
    """The subnet's own tensors, by the keys of a specialised network's file: the first channels of each axis."""
    full = config_of(name, largest(name))
    repeated = [key for key in shapes_of(full, elastic=True) if not key.endswith("_matrix")]
    stored = dict(zip(shapes_of(full), repeated, strict=True))
    blocks, stem = kept_blocks(name, arch), [0, 1, 2] if arch["d"][0] == 2 else [0, 2]
    state = {}
    for key, shape in shapes_of(config_of(name, arch)).items():
        parts = key.split(".")
        if parts[0] in ("blocks", "input_stem"):
            parts[1] = str((blocks if parts[0] == "blocks" else stem)[int(parts[1])])
        theirs = stored[".".join(parts)]
        tensor = supernet[theirs]
        if theirs.endswith("depth_conv.conv.conv.weight"):
            tensor = transform(tensor, supernet, theirs.removesuffix(".conv.weight"), shape[-1])
        state[key] = tensor[tuple(slice(length) for length in shape)].clone()
    return state


def kept_blocks(name: str, arch: dict) -> list[int]:
    """The numbers, among the supernet's blocks, of those that the depths keep."""
    if "resnet" in name:
        kept, number = [], 0
        stages = [(base + 2, base + added) for base, added in zip((2, 2, 4, 2), arch["d"][1:], strict=True)]
    else:
        kept, number = [0], 1
        stages = [(stage[2], depth) for stage, depth in zip(mobile_stages(name), arch["d"], strict=True)]
    for full, depth in stages:
        kept += range(number, number + depth)
        number += full
    return kept


def transform(kernel: Tensor, supernet: dict[str, Tensor], layer: str, side: int) -> Tensor:
    """The 7×7 kernels' centres times a matrix are the 5×5 ones; the centres of those times another the 3×3 ones."""
    for large in (7, 5):
        if side < large:
            matrix = supernet[f"{layer}.{large}to{large - 2}_matrix"]
            centre = kernel[:, :, 1:-1, 1:-1].reshape(len(kernel), -1)
            rows = [matrix @ one for one in centre]
            kernel = torch.stack(rows).reshape(len(kernel), 1, large - 2, large - 2)
    return kernel


# --- running it ---------------------------------------------------------------------------------------------

ACTIVATIONS = {
    "relu": lambda x: x.clamp(min=0),
    "relu6": lambda x: x.clamp(0, 6),
    "h_swish": lambda x: x * (x + 3).clamp(0, 6) / 6,
    None: lambda x: x,
}


class Network:
    """A specialised network's forward pass, layer by layer; `macs` counts its multiply-accumulates."""

    def __init__(self, config: dict, state: dict[str, Tensor]) -> None:
        self.config = config
        self.state = state
        self.eps = config["bn"]["eps"]
        self.macs = 0

    def __call__(self, images: Tensor) -> Tensor:
        """Logits `(N, classes)` of images `(N, 3, H, W)`."""
        self.macs = 0
        x = self.stem(images) if self.config["name"] == "ResNets" else self.layer(images, "first_conv")
        for number, block in enumerate(self.config["blocks"]):
            if self.config["name"] == "ResNets":
                x = self.bottleneck(x, f"blocks.{number}", block)
            else:
                y = self.inverted(x, f"blocks.{number}.conv", block["conv"])
                x = x + y if block["shortcut"] else y
        if self.config["name"] == "MobileNetV3":
            x = self.layer(x, "final_expand_layer").mean((2, 3), keepdim=True)
        if "feature_mix_layer" in self.config:
            x = self.layer(x, "feature_mix_layer")
        weight, bias = self.state["classifier.linear.weight"], self.state["classifier.linear.bias"]
        self.macs += weight.numel()
        return x.mean((2, 3)) @ weight.T + bias

    def stem(self, x: Tensor) -> Tensor:
        for at, layer in enumerate(self.config["input_stem"]):
            if "conv" in layer:
                x = x + self.conv(x, f"input_stem.{at}.conv", 1, "relu")
            else:
                x = self.conv(x, f"input_stem.{at}", layer["stride"], "relu")
        return F.max_pool2d(x, 3, 2, 1) if self.config["input_stem"][0]["stride"] == 2 else x

    def layer(self, x: Tensor, name: str) -> Tensor:
        layer = self.config[name]
        return self.conv(x, name, layer["stride"], layer["act_func"])

    def inverted(self, x: Tensor, name: str, block: dict) -> Tensor:
        act = block["act_func"]
        if block["expand_ratio"] != 1:
            x = self.conv(x, f"{name}.inverted_bottleneck", 1, act)
        x = self.conv(x, f"{name}.depth_conv", block["stride"], act, groups=x.shape[1])
        if block["use_se"]:
            squeezed = x.mean((2, 3), keepdim=True)
            squeezed = self.multiply(squeezed, f"{name}.depth_conv.se.fc.reduce").clamp(min=0)
            squeezed = self.multiply(squeezed, f"{name}.depth_conv.se.fc.expand")
            x = x * (squeezed + 3).clamp(0, 6) / 6
        return self.conv(x, f"{name}.point_linear", 1, None)

    def bottleneck(self, x: Tensor, name: str, block: dict) -> Tensor:
        y = self.conv(x, f"{name}.conv1", 1, "relu")
        y = self.conv(y, f"{name}.conv2", block["stride"], "relu")
        y = self.conv(y, f"{name}.conv3", 1, None)
        if block["in_channels"] != block["out_channels"]:
            pools = block["downsample_mode"] == "avgpool_conv"
            x = F.avg_pool2d(x, block["stride"], block["stride"], ceil_mode=True) if pools else x
            x = self.conv(x, f"{name}.downsample", 1 if pools else block["stride"], None)
        return (x + y).clamp(min=0)

    def conv(self, x: Tensor, name: str, stride: int, act: str | None, groups: int = 1) -> Tensor:
        """Convolution with half its kernel as padding, BatchNorm with its running statistics, activation."""
        x = self.multiply(x, f"{name}.conv", stride, groups)
        if f"{name}.bn.weight" in self.state:
            tensors = ("running_mean", "running_var", "weight", "bias")
            mean, variance, weight, bias = (self.state[f"{name}.bn.{one}"].view(-1, 1, 1) for one in tensors)
            x = (x - mean) / (variance + self.eps).sqrt() * weight + bias
        return ACTIVATIONS[act](x)

    def multiply(self, x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state.get(f"{name}.bias")
        x = F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, groups=groups)
        self.macs += x[0, 0].numel() * weight.numel()
        return x


def count_parameters(state: dict[str, Tensor]) -> int:
    """Of a network: its tensors but running statistics."""
    return sum(t.numel() for key, t in state.items() if "running_" not in key and "num_batches" not in key)

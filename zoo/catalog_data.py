"""The entries of the zoo, with facts about each; importing this needs no PyTorch."""

from __future__ import annotations

from functools import partial

from zoo.entry import Builder, CardLine, Sizes, Weights, ZooEntry
from zoo.networks.preprocessing import CIFAR10, FASHION_MNIST, UNCHANGED, Preprocessing

_PAPER = "Cai et al., Once-for-All: Train One Network and Specialize it for Efficient Deployment, ICLR 2020"
_SOURCE = "https://github.com/mit-han-lab/once-for-all"
_FILES = "https://raw.githubusercontent.com/han-cai/files/master/ofa/ofa_nets"
_LARGE_FILES = "https://media.githubusercontent.com/media/han-cai/files/master/ofa/ofa_nets"
_README = "published, in the source's README"
_ENCODING = "Encodings `{ks, e, d}` go both ways: `elastic zoo convert`."

_FASHION = "measured, n = 10,000: tests/benchmarks/zoo_results.py"
_SST2 = "measured, n = 872, one seed: tests/benchmarks/dynabert_table.py"

_published = partial(
    ZooEntry, license="MIT (Once-for-All's code and weights)", paper=_PAPER, source=_SOURCE, configs=("ofa_imagenet",)
)
_proard = partial(
    ZooEntry,
    license="Apache-2.0",
    paper="Mousavi et al., ProARD: Progressive Adversarial Robustness Distillation, IJCNN 2025",
    source="this project; https://github.com/hamidmousavi0/ProARD has the networks, no weights are published",
    images=UNCHANGED,
)
_robust_wrn = partial(
    ZooEntry,
    family="WideResNet",
    license="Apache-2.0",
    paper="Huang et al., Exploring Architectural Ingredients of Adversarially Robust Deep Neural Networks, "
    "NeurIPS 2021",
    source="this project; https://github.com/HanxunH/RobustWRN has fixed networks, no supernet's weights are published",
    configs=("proard_cifar10", "robust_sandwich"),
    images=UNCHANGED,
)


def _top1(network: str, macs: str, accuracy: float) -> CardLine:
    return CardLine(f"{network}, {macs} MACs: ImageNet top-1", f"{accuracy} %", _README)


_ATTACKED = "measured, 95 % intervals, n = {}: elastic attack, ε = 0.1"
_ROBUST = (
    CardLine("smallest subnet, 0.23 M MACs: test accuracy", "76.8 % (74.1 to 79.3)", _ATTACKED.format("1,000")),
    CardLine("the same under PGD-20", "52.0 % (48.9 to 55.1)", _ATTACKED.format("1,000")),
    CardLine("the same under AutoAttack", "38.3 % (30.3 to 46.9)", _ATTACKED.format(128)),
    CardLine("largest subnet, 1.78 M MACs: test accuracy", "80.1 % (77.5 to 82.5)", _ATTACKED.format("1,000")),
    CardLine("the same under PGD-20", "64.1 % (61.1 to 67.0)", _ATTACKED.format("1,000")),
    CardLine("the same under AutoAttack", "59.4 % (50.7 to 67.5)", _ATTACKED.format(128)),
)

ENTRIES = (
    _published(
        name="ofa_mbv3_d234_e346_k357_w1.0",
        builder=Builder("zoo.networks.ofa_mobilenetv3:ofa_mobilenetv3", (1.0,)),
        family="MobileNetV3",
        sizes=Sizes((3_410_792, 7_664_760), (41_476_224, 566_170_656), 7371**5),
        weights=Weights(
            # the digest is third parties', who found it in the file at this address
            f"{_FILES}/ofa_mbv3_d234_e346_k357_w1.0",
            "a7def36bb4e4c688c16d37eb60d5d34b2e6dcf6438c05bc86dea918fda04c6c7",
        ),
        results=(
            CardLine("subnet for a Pixel1, 230 M MACs, as it is: ImageNet top-1", "76.0 %", "published, in the paper"),
            _top1("pixel1_lat@58ms_top1@76.9_finetune@75", "230 M", 76.9),
            _top1("LG-G8_lat@24ms_top1@76.4_finetune@25", "230 M", 76.4),
        ),
        notes=_ENCODING,
    ),
    _published(
        name="ofa_mbv3_d234_e346_k357_w1.2",
        builder=Builder("zoo.networks.ofa_mobilenetv3:ofa_mobilenetv3", (1.2,)),
        family="MobileNetV3",
        sizes=Sizes((4_602_456, 10_701_632), (65_536_896, 843_101_040), 7371**5),
        weights=Weights(f"{_FILES}/ofa_mbv3_d234_e346_k357_w1.2"),
        results=(
            _top1("flops@595M_top1@80.0_finetune@75", "595 M", 80.0),
            _top1("flops@482M_top1@79.6_finetune@75", "482 M", 79.6),
            _top1("flops@389M_top1@79.1_finetune@75", "389 M", 79.1),
        ),
        notes=f"Published as trained at 160 to 224 pixels; smaller resolutions are on offer, too. {_ENCODING}",
    ),
    _published(
        name="ofa_proxyless_d234_e346_k357_w1.3",
        builder=Builder("zoo.networks.ofa_proxyless:ofa_proxyless", (1.3,)),
        family="ProxylessNAS",
        sizes=Sizes((3_718_832, 7_942_056), (87_823_104, 1_004_908_032), 9 * 7371**5),
        weights=Weights(f"{_FILES}/ofa_proxyless_d234_e346_k357_w1.3"),
        results=(
            _top1("tx2_gpu16@96ms_top1@75.8_finetune@25", "349 M", 75.8),
            _top1("cpu_lat@11ms_top1@72.0_finetune@25", "160 M", 72.0),
        ),
        notes=_ENCODING,
    ),
    _published(
        name="ofa_resnet50",
        builder=Builder("zoo.networks.ofa_resnet:ofa_resnet"),
        family="ResNet50-D",
        sizes=Sizes((6_539_280, 48_105_992), (315_079_552, 7_491_643_904), 2 * 3 * 3 * (27 * 13) ** 3 * (243 * 13)),
        weights=Weights(
            f"{_LARGE_FILES}/ofa_resnet50_d0-1-2_e0.2-0.25-0.35_w0.65-0.8-1.0",
            "3406a4c852f4573a58e9a01f35406baa4ad3787044ffadc6ea45571ad2b9123a",
            192_773_235,
        ),
        results=(
            _top1("resnet50D_MAC@4.1B_top1@79.8", "4.1 G", 79.8),
            _top1("resnet50D_MAC@1.8B_top1@78.3", "1.8 G", 78.3),
            _top1("resnet50D_MAC@0.6B_top1@75.0_finetune@25", "0.6 G", 75.0),
        ),
        notes="Encodings `{d, e, w}` go both ways: `elastic zoo convert`.",
    ),
    ZooEntry(
        name="ofa_mbv3_fashion_mnist",
        builder=Builder("zoo.networks.ofa_small:ofa_fashion_mnist"),
        family="MobileNetV3",
        sizes=Sizes((183_546, 481_794), (1_154_328, 10_418_160), 7371**3),
        license="Apache-2.0",
        paper=_PAPER,
        source="this project; Fashion-MNIST by Zalando (MIT)",
        configs=("ofa_fashion_mnist",),
        images=FASHION_MNIST,
        weights=Weights(
            "ofa_mbv3_fashion_mnist.safetensors", "5995a4eacb670a2e293ecbcd0d687f9a507ecdf795671f6d14a768c396c1aee0"
        ),
        made_up="fashion_mnist_made_up.safetensors",
        results=(
            CardLine("smallest subnet, 1.15 M MACs: test accuracy", "86.7 ± 0.3 %", _FASHION),
            CardLine("middle of all choices, 3.27 M MACs", "88.9 ± 0.3 %", _FASHION),
            CardLine("largest subnet, 10.4 M MACs", "89.2 ± 0.3 %", _FASHION),
        ),
        notes="Trained with `--model.curriculum.scale 0.5`, one seed. BatchNorm statistics have to be re-estimated for "
        "each subnet: the results are with 8 batches of training images; with `zoo.calibration`, made-up images that "
        "come with the package, they are 86.2, 88.4 and 88.7 %; as the weights come, 26.9, 83.6 and 31.8 %. "
        f"{_ENCODING}",
    ),
    ZooEntry(
        name="ofa_mbv3_cifar10",
        builder=Builder("zoo.networks.ofa_small:ofa_cifar10"),
        family="MobileNetV3",
        sizes=Sizes((24_514, 92_818), (150_104, 1_569_792), 7371**3),
        license="Apache-2.0",
        paper=_PAPER,
        source="this project; CIFAR-10 by Krizhevsky",
        configs=("ofa_cifar10",),
        images=CIFAR10,
        notes=_ENCODING,
    ),
    ZooEntry(
        name="dynabert_sst2",
        builder=Builder("zoo.networks.dynabert_sst2:dynabert_sst2"),
        family="BERT",
        sizes=Sizes((637_762, 1_330_562), (6_832_384, 54_542_592), 69_888),
        license="Apache-2.0",
        paper="Hou et al., DynaBERT: Dynamic BERT with Adaptive Width and Depth, NeurIPS 2020",
        source="this project; SST-2 of GLUE (Socher et al., 2013)",
        configs=("dynabert_sst2",),
        images=None,
        vocabulary="dynabert_sst2_vocab.txt",
        weights=Weights(
            "dynabert_sst2.safetensors", "1f5355351ccd576d7b25dbdd0e30705c98827b0515fddd21628097f959a2e376"
        ),
        results=(
            CardLine("width 0.25, depth 0.5 (6.8 M MACs): SST-2's development split", "81.2 ± 1.3 %", _SST2),
            CardLine("width 0.5, depth 0.75 (20.5 M MACs)", "81.3 ± 1.4 %", _SST2),
            CardLine("width 1, depth 1 (54.5 M MACs)", "81.1 ± 1.3 %", _SST2),
        ),
        notes="The 12 pairs of width and depth are among its subnets: `elastic zoo convert`.",
    ),
    _proard(
        name="proard_resnet50_cifar",
        builder=Builder("zoo.networks.proard:proard_resnet50"),
        family="ResNet50",
        sizes=Sizes((5_223_570, 46_077_482), (285_232_096, 2_358_013_952), 2 * 3 * 3 * (27 * 13) ** 3 * (243 * 13)),
        configs=("proard_cifar10", "proard_resnet"),
        notes="Encodings `{d, e, w}` go both ways: `elastic zoo convert`.",
    ),
    _proard(
        name="proard_mbv3_cifar",
        builder=Builder("zoo.networks.proard:proard_mobilenetv3"),
        family="MobileNetV3",
        sizes=Sizes((2_142_602, 6_396_570), (35_293_824, 179_706_624), 7371**5),
        configs=("proard_cifar10", "proard"),
        notes=_ENCODING,
    ),
    _proard(
        name="proard_mbv2_cifar",
        builder=Builder("zoo.networks.proard:proard_mobilenetv2"),
        family="MobileNetV2",
        sizes=Sizes((1_232_442, 3_835_146), (42_461_696, 187_834_880), 9 * 7371**5),
        configs=("proard_cifar10", "proard"),
        notes="Stage widths are ProxylessNAS's, as ProARD's code builds it: MobileNetV2's are asked for by a name that "
        f"its networks for CIFAR don't know. {_ENCODING}",
    ),
    _robust_wrn(
        name="robust_wrn34",
        builder=Builder("zoo.networks.robust_wrn:robust_wrn"),
        sizes=Sizes((1_957_274, 80_883_674), (460_834_368, 19_949_607_168), 4**3 * 4**3),
        notes="Among its subnets are WRN-34-10 (160, 320, 640 channels) and the paper's WRN-34-R (320, 640, 512).",
    ),
    _robust_wrn(
        name="robust_wrn_fashion_mnist",
        builder=Builder(
            "zoo.networks.robust_wrn:robust_wrn",
            defaults={"widths": (16, 32, 64), "depth": 2, "stem": 24, "stride": 4, "input_size": (1, 28, 28)},
        ),
        sizes=Sizes((8_242, 176_786), (232_096, 1_775_744), 256),
        source="this project; Fashion-MNIST by Zalando (MIT)",
        configs=("robust_fashion_mnist",),
        images=Preprocessing(mean=(0.0,), std=(1.0,), crop_pct=1.0),
        weights=Weights(
            "robust_wrn_fashion_mnist.safetensors", "ce2595509113e8ddf17f9dbc0adc5627c2021d7f9bc7ebf59b656f299506dbb6"
        ),
        adversary={"norm": "linf", "epsilon": 0.1, "steps": 3, "step_size": 0.05},
        made_up="fashion_mnist_made_up.safetensors",
        results=_ROBUST,
        notes="Trained under attack (L∞, ε = 0.1, pixels between 0 and 1), one seed; the weights are the last epoch's, "
        "not those that keep_best would keep. BatchNorm statistics are re-estimated on attacked training images; with "
        "those of plain images much of the robustness is lost.",
    ),
)

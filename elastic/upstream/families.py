"""Classes of timm and transformers by recipe, and those classes as types for the recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timm.models.convnext import ConvNeXt as ConvNeXt
    from timm.models.efficientnet import EfficientNet as EfficientNet
    from timm.models.mobilenetv3 import MobileNetV3 as MobileNetV3
    from timm.models.regnet import RegNet as RegNet
    from timm.models.resnet import ResNet as ResNet
    from timm.models.resnetv2 import ResNetV2 as ResNetV2
    from timm.models.vision_transformer import VisionTransformer as VisionTransformer
    from transformers import PreTrainedModel as PreTrainedModel

FAMILIES: dict[str, tuple[str, ...]] = {
    "bert": (
        "transformers.models.bert.modeling_bert:BertPreTrainedModel",
        "transformers.models.roberta.modeling_roberta:RobertaPreTrainedModel",
        "transformers.models.electra.modeling_electra:ElectraPreTrainedModel",
        "transformers.models.distilbert.modeling_distilbert:DistilBertPreTrainedModel",
    ),
    "convnext": ("timm.models.convnext:ConvNeXt",),
    "efficientnet": ("timm.models.efficientnet:EfficientNet", "timm.models.mobilenetv3:MobileNetV3"),
    "llama": (
        "transformers.models.llama.modeling_llama:LlamaPreTrainedModel",
        "transformers.models.mistral.modeling_mistral:MistralPreTrainedModel",
        "transformers.models.qwen2.modeling_qwen2:Qwen2PreTrainedModel",
        "transformers.models.qwen3.modeling_qwen3:Qwen3PreTrainedModel",
    ),
    "regnet": ("timm.models.regnet:RegNet",),
    "resnet": ("timm.models.resnet:ResNet",),
    "resnetv2": ("timm.models.resnetv2:ResNetV2",),
    "vit": (
        "timm.models.vision_transformer:VisionTransformer",
        "timm.models.deit:VisionTransformerDistilled",
    ),
}
"""Recipe name → the classes it is for (module:qualname), and all classes that inherit from them."""

"""The table of networks: the papers' 44 by the papers' names, and those that the studies add."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from alignment._validation import check_name

__all__ = ["ENTRIES", "PAPERS", "Entry", "entry", "list_models"]


@dataclass(frozen=True)
class Entry:
    """What the zoo knows about one network.

    Attributes
    ----------
    name : str
        The name :func:`~alignment.models.create_model` takes.
    source : str
        ``timm:NAME``, ``torchvision:NAME`` or ``module.path:function``.
    stand_in : str
        Empty where the network is the published one; otherwise how it differs from it, or what the papers
        leave open.
    minimum_size : int
        Smallest image side in pixels that its strides and poolings accept.
    size_multiple : int
        The image side must be a multiple of this (patches of a transformer).
    small_size : int
        Below this image side the small-image form is built (0: there is none).
    small_form : str
        What that form changes.
    width : str
        What ``width`` scales; empty where it cannot be applied.
    hub_tag : str
        Tag of timm's pretrained weights that fits the papers' network better than timm's default one.
    options : dict
        Further arguments of the builder.
    """

    name: str
    source: str
    stand_in: str = ""
    minimum_size: int = 32
    size_multiple: int = 1
    small_size: int = 0
    small_form: str = ""
    width: str = ""
    hub_tag: str = ""
    options: dict[str, Any] = field(default_factory=dict)


_KERAS = "the same architecture as Keras's, in timm's definition (padding and batch-norm constants may differ)"
_V15 = "version 1.5: stride in the 3x3 convolution; Keras's has it in the first 1x1, and biases before its norms"
_RESNET: dict[str, Any] = {
    "small_size": 64,
    "small_form": "3x3 stride-1 first convolution and no max-pool, so that a 32 px image leaves 4x4 maps, not 1x1",
    "width": "channels of the stem and of the four stages",
}
_VGG: dict[str, Any] = {
    "small_size": 64,
    "small_form": "the first fully connected layer sees the 1x1 map that is left instead of a 7x7 one made "
    "by repetition",
    "width": "channels of every convolution and of the fully connected layers",
}
_VIT: dict[str, Any] = {
    "width": "embedding width, in whole heads of 64 (of 32 below 64), depth, and the weights' first deviation"
}
_OWN = "alignment.models.networks."


def _own(name: str, module: str, function: str | None = None, **rest: Any) -> Entry:
    return Entry(name, f"{_OWN}{module}:{function or name}", **rest)


_PAPERS = (
    Entry("mobilenet", "timm:mobilenetv1_100", _KERAS),
    Entry("mobilenetv2", "timm:mobilenetv2_100", _KERAS),
    Entry("resnet50", "timm:resnet50", _V15, **_RESNET),
    Entry("resnet101", "timm:resnet101", _V15, **_RESNET),
    Entry("resnet152", "timm:resnet152", _V15, **_RESNET),
    Entry("resnet50v2", "timm:resnetv2_50", _KERAS),
    Entry("resnet101v2", "timm:resnetv2_101", _KERAS),
    Entry("resnet152v2", "timm:resnetv2_152", _KERAS),
    Entry("xception", "timm:legacy_xception", _KERAS),
    Entry("inceptionv3", "timm:inception_v3", _KERAS, minimum_size=75),
    Entry("inceptionresnetv2", "timm:inception_resnet_v2", _KERAS, minimum_size=75),
    Entry("vgg16", "timm:vgg16", **_VGG),
    Entry("vgg19", "timm:vgg19", **_VGG),
    Entry("vgg11", "timm:vgg11", **_VGG),
    Entry("densenet121", "timm:densenet121"),
    Entry("densenet169", "timm:densenet169"),
    Entry("densenet201", "timm:densenet201"),
    _own(
        "nasnet-mobile",
        "nasnet",
        "nasnet_mobile",
        stand_in="timm's NASNet-A cells at the mobile widths (stem 32, 1,056 features) and 4 cells a stage; "
        "padding as timm has it",
    ),
    Entry("nasnet-large", "timm:nasnetalarge", _KERAS),
    *(Entry(f"efficientnet_b{i}", f"timm:tf_efficientnet_b{i}") for i in range(8)),
    Entry("squeezenet", "torchvision:squeezenet1_0", "version 1.0; the papers do not say which"),
    Entry("shufflenet", "torchvision:shufflenet_v2_x1_0", "version 2 at width 1.0; the papers do not say which"),
    Entry("wide-resnet", "timm:wide_resnet50_2", "depth 50, width 2; the papers do not say which", **_RESNET),
    Entry("googlenet", "torchvision:googlenet", options={"aux_logits": False, "init_weights": True}),
    Entry(
        "inception_v3",
        "torchvision:inception_v3",
        minimum_size=75,
        options={"aux_logits": False, "init_weights": True},
    ),
    Entry(
        "resnet_ssl",
        "timm:resnet50",
        "ResNet-50, which is what its semi-supervised training changes only the weights of; the papers do "
        "not say "
        "which depth",
        hub_tag="fb_ssl_yfcc100m_ft_in1k",
        **_RESNET,
    ),
    _own("proxyless_nas", "proxyless", "proxyless_gpu", stand_in="the GPU variant; the papers do not say which"),
    Entry(
        "fcn_resnet101",
        "torchvision:fcn_resnet101",
        options={"weights_backbone": None, "aux_loss": False},
    ),
    _own("ibn-resnet", "ibn", "ibn_resnet50", stand_in="ResNet-50 IBN-a; the papers do not say which"),
    _own("u-net", "unet", "unet", size_multiple=16, width="channels of every level"),
    Entry("resnest", "timm:resnest50d", "depth 50; the papers do not say which"),
    Entry("ghostnet", "timm:ghostnet_100"),
    Entry("resnext", "timm:resnext50_32x4d", "50 layers, 32x4d; the papers do not say which"),
    _own(
        "midas",
        "midas",
        "midas",
        stand_in="2.1 large (ResNeXt-101 32x8d encoder); the papers do not say which. Its output is a "
        "depth map: num_classes is not used",
    ),
    Entry(
        "deeplabv3",
        "torchvision:deeplabv3_resnet101",
        "on ResNet-101; the papers do not say which backbone",
        options={"weights_backbone": None, "aux_loss": False},
    ),
    Entry("vit", "timm:vit_base_patch16_224", "ViT-B/16; the papers do not say which", size_multiple=16, **_VIT),
    _own("cornet", "cornet", "cornet_s", stand_in="CORnet-S; the papers do not say which"),
)

_OTHERS = (
    Entry("resnet18", "timm:resnet18", **_RESNET),
    Entry("resnet34", "timm:resnet34", **_RESNET),
    Entry(
        "vit_tiny",
        "timm:vit_tiny_patch16_224",
        size_multiple=4,
        small_size=64,
        small_form="patches of 4 pixels instead of 16, so that a 32 px image has 64 tokens, not 4",
        **_VIT,
    ),
    _own("small_cnn", "small", "small_cnn", minimum_size=8, width="channels of the three convolutions"),
    _own("mobilenetv1_025", "mobilenet", "mobilenetv1_025"),
    _own("spos_shufflenet", "spos", "spos_shufflenet"),
    *(
        _own(f"autoformer_{size}", "autoformer", f"autoformer_{size}", minimum_size=16, size_multiple=16)
        for size in ("tiny", "small", "base")
    ),
)

PAPERS = tuple(record.name for record in _PAPERS)
ENTRIES = {record.name: record for record in (*_PAPERS, *_OTHERS)}


def list_models(papers_only: bool = False) -> list[str]:
    """Names that :func:`create_model` knows without a prefix.

    Parameters
    ----------
    papers_only : bool
        Only the 44 networks of the papers, in the papers' order.

    Examples
    --------
    >>> len(list_models(papers_only=True))
    44
    >>> "small_cnn" in list_models()
    True
    """
    return list(PAPERS if papers_only else ENTRIES)


def entry(name: str) -> Entry:
    """Return the zoo's record of a network.

    Parameters
    ----------
    name : str
        One of :func:`list_models` in any case and with ``-`` or ``_``, or ``timm:NAME``, ``torchvision:NAME``
        or ``module.path:function``.

    Examples
    --------
    >>> entry("wide_resnet").source
    'timm:wide_resnet50_2'
    >>> entry("resnet81")
    Traceback (most recent call last):
        ...
    neural_alignment.InputError: Unknown model 'resnet81': ... Did you mean 'resnet18'?
    """
    if isinstance(name, str) and ":" in name:
        return Entry(name, name, minimum_size=1)
    plain = {known.replace("-", "_").lower(): known for known in ENTRIES}
    wanted = plain.get(str(name).replace("-", "_").lower(), name)
    return ENTRIES[check_name(wanted, "model", ENTRIES, "list_models()")]

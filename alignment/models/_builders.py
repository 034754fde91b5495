"""How each entry of the zoo becomes a module: timm's, torchvision's or a function's, small or narrowed."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn

from alignment.models import _libraries
from alignment.models._registry import Entry
from neural_alignment import DataError, InputError, closest

__all__ = ["build_network"]

# timm's families whose constructor takes the image's size, beside those that it marks as of fixed size.
_WITH_SIZE = ("vit_", "deit", "swin", "beit", "eva", "cait_", "volo_", "xcit_", "mixer_", "maxvit", "coatnet")


def build_network(record: Entry, num_classes: int, image_size: int, width: float, pretrained: str) -> nn.Module:
    """Build the bare network of a record; ``pretrained`` is the name of timm's weights, or empty."""
    small = image_size < record.small_size
    kind, _, target = record.source.partition(":")
    if kind == "timm":
        return _timm(record, target, num_classes, image_size, width, small, pretrained)
    if width != 1.0 and not record.width and kind == "torchvision":
        raise _no_width(record, width)
    if kind == "torchvision":
        return _torchvision(record, target, num_classes)
    return _function(record, kind, target, num_classes, image_size, width)


def _timm(
    record: Entry, target: str, num_classes: int, image_size: int, width: float, small: bool, pretrained: str
) -> nn.Module:
    timm = _libraries.timm()
    base = target.split(".")[0]
    if not timm.is_model(base):
        raise InputError(f"timm has no model {target!r}.{closest(base, timm.list_models())}")
    options = {**record.options, **_sized(timm, base, image_size, small)}
    if width != 1.0:
        options.update(_narrowed(record, base, width, image_size))
    if pretrained and options.keys() & {"channels", "embed_dim", "patch_size", "cfg"}:
        raise InputError(f"The pretrained weights of {record.name} fit its full width and patch size only.")
    if pretrained and small:
        raise InputError(f"The pretrained weights of {record.name} do not fit its small form; use a larger image_size.")
    if base.startswith("vgg") and width != 1.0:
        return _small_vgg(_vgg(options.pop("cfg"), num_classes), num_classes, width, small)
    try:
        net = timm.create_model(pretrained or target, pretrained=bool(pretrained), num_classes=num_classes, **options)
    except (OSError, RuntimeError, ValueError) as error:
        if not pretrained:
            raise InputError(f"timm could not build {target!r}: {_first_line(error)}.") from error
        raise DataError(
            f"timm's weights {pretrained!r} could not be fetched ({_first_line(error)}). They need a "
            "network connection "
            "the first time; without one, give a .safetensors file of them as weights."
        ) from error
    net = cast(nn.Module, net)
    if base.startswith("vit_") and width != 1.0:
        return _started_narrow(net)
    if base.startswith(("resnet", "wide_resnet")) and record.width and (small or width != 1.0):
        return _plain_stem(net, small)
    if base.startswith("vgg") and small:
        return _small_vgg(net, num_classes, width, small)
    return net


def _sized(timm: Any, base: str, image_size: int, small: bool) -> dict[str, Any]:
    """Tell networks with position codes or windows the size, which timm takes as ``img_size``."""
    fixed = timm.get_pretrained_cfg(base).fixed_input_size
    if not (fixed or base.startswith(_WITH_SIZE)):
        return {}
    return {"img_size": image_size, **({"patch_size": 4} if small else {})}


def _narrowed(record: Entry, base: str, width: float, image_size: int) -> dict[str, Any]:
    if not record.width:
        raise _no_width(record, width)
    if base.startswith("vit_"):
        full = 768 if "base" in base else 192
        wanted = max(32.0, full * width)
        head = 64 if wanted >= 64 else 32
        heads = max(1, round(wanted / head))
        return {"embed_dim": heads * head, "num_heads": heads, "depth": max(2, round(12 * min(width, 1.0)))}
    if base.startswith("vgg"):
        plan = _libraries.timm("models.vgg").cfgs[base]
        return {"cfg": [v if v == "M" else _scaled(v, width) for v in plan]}
    # timm takes the stem's channels only for its deep stem; the plain one is put back in its place
    # afterwards.
    stem = {"stem_type": "deep", "stem_width": _scaled(64, width) // 2}
    return {"channels": tuple(_scaled(c, width) for c in (64, 128, 256, 512)), **stem}


def _started_narrow(net: nn.Module) -> nn.Module:
    """Start a narrowed ViT from weights of deviation 1/√inputs, and position codes that can be told from patches.

    timm's deviation of 0.02 is made for the full widths: at 64 a network of it hardly learns at all.
    """
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)
    nn.init.trunc_normal_(cast(Tensor, net.pos_embed), std=0.2)
    return net


def _vgg(plan: list[Any], num_classes: int) -> nn.Module:
    return cast(nn.Module, _libraries.timm("models.vgg").VGG(plan, num_classes=num_classes))


def _plain_stem(net: nn.Module, small: bool) -> nn.Module:
    """Give a ResNet the one convolution that it starts with, for large or for small images."""
    channels = cast(nn.BatchNorm2d, net.bn1).num_features
    size, stride = (3, 1) if small else (7, 2)
    net.conv1 = nn.Conv2d(3, channels, kernel_size=size, stride=stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    if small:
        net.maxpool = nn.Identity()
    return net


def _small_vgg(net: nn.Module, num_classes: int, width: float, small: bool) -> nn.Module:
    """Give VGG a head of the width of its body, on the 1x1 map that a small image leaves."""
    models = _libraries.timm("models.vgg")
    hidden = _scaled(4096, width)
    kernel = 1 if small else 7
    before = cast(int, net.num_features)
    net.pre_logits = models.ConvMlp(before, hidden, kernel, drop_rate=cast(float, net.drop_rate))
    net.head = models.ClassifierHead(hidden, num_classes, pool_type="avg", drop_rate=cast(float, net.drop_rate))
    setattr(net, "head_hidden_size", hidden)  # noqa: B010 (a plain number, which nn.Module is not typed to take)
    cast(Callable[[], None], net._initialize_weights)()
    return net


def _torchvision(record: Entry, target: str, num_classes: int) -> nn.Module:
    models = _libraries.torchvision("models")
    known = models.list_models()
    if target not in known:
        raise InputError(f"torchvision has no model {target!r}.{closest(target, known)}")
    options = dict(record.options)
    build = models.get_model_builder(target)
    accepted = inspect.signature(build).parameters
    if "weights_backbone" in accepted:
        options.setdefault("weights_backbone", None)
    return cast(nn.Module, build(weights=None, num_classes=num_classes, **options))


def _function(record: Entry, module: str, function: str, num_classes: int, image_size: int, width: float) -> nn.Module:
    try:
        build = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise InputError(
            f"The model {record.source!r} cannot be found: {error}. Write 'module.path:function' of a "
            "module that "
            "Python can import."
        ) from error
    if not callable(build):
        raise InputError(f"The model {record.source!r} is not a function that makes a torch module.")
    accepted = inspect.signature(build).parameters
    offered = {"num_classes": num_classes, "image_size": image_size, "width": width, **record.options}
    if width != 1.0 and "width" not in accepted:
        raise _no_width(record, width)
    net = build(**{key: value for key, value in offered.items() if key in accepted})
    if not isinstance(net, nn.Module):
        raise InputError(f"The model {record.source!r} must return a torch module. It gave {type(net).__name__}.")
    return net


def _scaled(channels: int, width: float) -> int:
    """Scale a number of channels, to a multiple of 8 where there are that many."""
    wanted = channels * width
    return max(8, 8 * round(wanted / 8)) if wanted >= 8 else max(1, round(wanted))


def _no_width(record: Entry, width: float) -> InputError:
    return InputError(
        f"The 'width' parameter of create_model cannot be applied to {record.name}. Got {width} instead of "
        "1.0: "
        "narrow one of resnet18, vgg11, vit_tiny or small_cnn, or leave width out."
    )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]

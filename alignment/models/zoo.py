"""The zoo: any network by name, taking images in [0, 1], with its weights and its own preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alignment._validation import check_integer, check_number
from alignment.models import _libraries
from alignment.models._builders import build_network
from alignment.models._registry import Entry, entry, list_models
from alignment.models.weights import check_finite, load_weights, resolve_weights
from neural_alignment import InputError

__all__ = ["Entry", "ImageModel", "create_model", "entry", "list_models"]

_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


class ImageModel(nn.Module):
    """A network that takes images in [0, 1] and normalises their colours itself.

    Attributes
    ----------
    net : nn.Module
        The bare network; layer names are those of its modules.
    name : str
        The name it was made by.
    image_size : int
        Side of the images in pixels.
    preprocessing : dict
        ``mean`` and ``std`` (applied in ``forward``), and where the source tells them ``interpolation`` and
        ``crop_pct`` of the pictures it was trained on (recorded, not applied).
    entry : Entry
        The zoo's record.
    small_form : str
        What the small-image form changed, or an empty string.
    weights_source : str
        ``"random, seed 0"``, a file or a hub name.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, record: Entry, image_size: int, preprocessing: dict[str, Any]) -> None:
        super().__init__()
        self.net = net
        self.entry = record
        self.name = record.name
        self.image_size = image_size
        self.preprocessing = preprocessing
        self.small_form = record.small_form if image_size < record.small_size else ""
        self.weights_source = ""
        # Not in the state_dict: they are part of the definition, not of the weights.
        for key in ("mean", "std"):
            self.register_buffer(key, torch.tensor(preprocessing[key]).view(1, -1, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Any:
        """Map images (B, 3, H, W) in [0, 1] to scores (B, num_classes), or whatever the network gives."""
        return self.net((image - self.mean) / self.std)


def create_model(
    name: str,
    weights: str | Path | None = None,
    seed: int = 0,
    num_classes: int = 1000,
    image_size: int = 224,
    width: float = 1.0,
) -> ImageModel:
    """Make a network by name.

    Parameters
    ----------
    name : str
        One of :func:`list_models`, or any other network as ``timm:NAME``, ``torchvision:NAME`` or
        ``module.path:function`` (called with those of ``num_classes``, ``image_size`` and ``width`` it takes,
        and returning a module).
    weights : str or Path, optional
        ``None`` for random weights from ``seed``; a ``.safetensors`` file or a checkpoint; ``"timm"`` for
        timm's pretrained weights of a network that timm defines, ``"timm:NAME"`` for one of its tags (both
        need a network connection the first time).
    seed : int
        Of the random weights. The global generator is left as it was.
    num_classes : int
        Outputs of the classifier.
    image_size : int
        Side of the square images in pixels. Where the record names a ``small_size``, smaller images get the
        network's small-image form.
    width : float
        Factor on the numbers of channels, for networks that can be narrowed.

    Returns
    -------
    ImageModel
        In evaluation mode; takes (B, 3, image_size, image_size) in [0, 1].

    Raises
    ------
    InputError
        Unknown name, image size or width that the network cannot take.
    DataError
        Weights that are missing, unsafe, damaged or of another architecture.

    Examples
    --------
    >>> import torch
    >>> model = create_model("small_cnn", num_classes=10, image_size=32, width=0.5)
    >>> model(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    record = entry(name)
    seed = check_integer(seed, "seed", "create_model", low=0)
    num_classes = check_integer(num_classes, "num_classes", "create_model", low=1)
    image_size = _check_size(image_size, record)
    width = check_number(width, "width", "create_model", low=0, open_low=True)
    pretrained = ""
    if weights is not None:
        weights = resolve_weights(weights)
        pretrained = _hub_name(weights, record)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = build_network(record, num_classes, image_size, width, pretrained)
    model = ImageModel(net, record, image_size, _preprocessing(net, record))
    model.weights_source = f"random, seed {seed}"
    if pretrained:
        model.weights_source = f"timm:{pretrained}"
        check_finite(net.state_dict(), pretrained)
    elif weights is not None:
        load_weights(model, weights)
        model.weights_source = str(weights)
    return model.eval()


def _check_size(image_size: int, record: Entry) -> int:
    image_size = check_integer(image_size, "image_size", "create_model", low=1)
    if image_size < record.minimum_size:
        raise InputError(
            f"{record.name} takes images of at least {record.minimum_size}x{record.minimum_size} pixels. "
            f"Got image_size={image_size}: choose a larger size or another network."
        )
    if image_size % record.size_multiple:
        raise InputError(
            f"The image size of {record.name} must be a multiple of {record.size_multiple}. Got "
            f"{image_size}: the "
            f"nearest is {max(1, round(image_size / record.size_multiple)) * record.size_multiple}."
        )
    return image_size


def _hub_name(weights: str, record: Entry) -> str:
    """Name of timm's pretrained weights that are asked for, or an empty string for a file."""
    if weights != "timm" and not weights.startswith("timm:"):
        return ""
    if not record.source.startswith("timm:"):
        raise InputError(
            f"timm has no weights of {record.name}, which comes from {record.source}. Give a file of weights instead."
        )
    base = record.source.removeprefix("timm:")
    if weights == "timm":
        return f"{base}.{record.hub_tag}" if record.hub_tag else base
    wanted = weights.removeprefix("timm:")
    if wanted.split(".")[0] != base.split(".")[0]:
        raise InputError(f"The weights {weights!r} belong to another network than {record.name} (timm's {base}).")
    return wanted


def _preprocessing(net: nn.Module, record: Entry) -> dict[str, Any]:
    if record.source.startswith("timm:"):
        config = _libraries.timm("data").resolve_data_config({}, model=net)
        kept = ("mean", "std", "interpolation", "crop_pct")
        found = {key: config[key] for key in kept}
        return {**found, "mean": tuple(found["mean"]), "std": tuple(found["std"]), "source": "timm"}
    return {**_IMAGENET, "source": "ImageNet's mean and standard deviation"}

"""A network as a sequence of symbols, one a layer, in the order the layers run (NeuRN, arXiv 2505.06881).

The network runs once on torch's ``meta`` device: shapes without numbers, so neither memory nor weights are
needed. What counts is what is computed, not how it is written: a ReLU is one whether it is a module or a
function call.

Three alphabets, from coarse to fine:

``papers``
    C convolution, R activation, M max-pool, A average-pool, L linear, D dropout; and a letter each for the
    rest: N normalisation, T transposed convolution, X attention, U upsampling, E embedding.
``types``
    C convolution, P pointwise (1x1), W depthwise, G grouped, T transposed; R rectifier (ReLU, ReLU6, leaky
    ...), S smooth activation (SiLU, GELU, tanh ...), Q gate (sigmoid, hard sigmoid, softmax); M max-pool, A
    average-pool, V global average; L linear; D dropout; B batch, Y layer, I instance and H other
    normalisation; X attention; U upsampling; E embedding.
``detailed``
    Words such as ``C3/2w6``: the letter of ``types``, kernel, stride, groups (``g4``), and the width class
    w, the power of two nearest to the number of output channels.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from alignment._validation import check_choice, check_integer
from alignment.models._hooks import evaluating, own
from neural_alignment import DataError, InputError

__all__ = ["LEVELS", "Layer", "Trace", "layer_symbols", "trace_layers", "write_symbols"]

LEVELS = ("papers", "types", "detailed")
ACTIVATIONS = ("separate", "all", "none")

# The papers' networks that come from Keras, where an activation right after a convolution or a linear layer
# is part of it; those from torch list every activation.
KERAS = frozenset(
    [
        "mobilenet",
        "mobilenetv2",
        "resnet50",
        "resnet101",
        "resnet152",
        "resnet50v2",
        "resnet101v2",
        "resnet152v2",
        "xception",
        "inceptionv3",
        "inceptionresnetv2",
        "vgg16",
        "vgg19",
        "densenet121",
        "densenet169",
        "densenet201",
        "nasnet-mobile",
        "nasnet-large",
        "efficientnet_b0",
        "efficientnet_b1",
        "efficientnet_b2",
        "efficientnet_b3",
        "efficientnet_b4",
        "efficientnet_b5",
        "efficientnet_b6",
        "efficientnet_b7",
    ]
)
# The papers' VGG11 is torchvision's, whose adaptive pooling and dropout are layers.
TRACED_AS = {"vgg11": "torchvision:vgg11"}

_RECTIFIERS = ["relu", "relu6", "hardtanh", "leaky_relu", "rrelu", "prelu", "threshold"]
_SMOOTH = [
    "elu",
    "selu",
    "celu",
    "gelu",
    "silu",
    "mish",
    "hardswish",
    "tanh",
    "softplus",
    "softsign",
    "logsigmoid",
]
_GATES = ["sigmoid", "hardsigmoid", "softmax", "softmin", "log_softmax", "glu"]
# What each function of torch is, by its name; a trailing underscore (in place) is dropped first.
_KINDS: dict[str, str] = {
    **dict.fromkeys(_RECTIFIERS, "R"),
    **dict.fromkeys(_SMOOTH, "S"),
    **dict.fromkeys(_GATES, "Q"),
    **{f"conv{d}d": "C" for d in (1, 2, 3)},
    **{f"conv_transpose{d}d": "T" for d in (1, 2, 3)},
    **{f"{how}max_pool{d}d": "M" for how in ("", "adaptive_", "fractional_") for d in (1, 2, 3)},
    **{f"{how}avg_pool{d}d": "A" for how in ("", "adaptive_") for d in (1, 2, 3)},
    **{f"{how}dropout{d}": "D" for how in ("", "alpha_", "feature_") for d in ("", "1d", "2d", "3d")},
    "feature_alpha_dropout": "D",
    "linear": "L",
    "bilinear": "L",
    "batch_norm": "B",
    "layer_norm": "Y",
    "instance_norm": "I",
    "group_norm": "H",
    "rms_norm": "H",
    "local_response_norm": "H",
    "scaled_dot_product_attention": "X",
    "multi_head_attention_forward": "X",
    "interpolate": "U",
    "upsample": "U",
    "pixel_shuffle": "U",
    "embedding": "E",
    "embedding_bag": "E",
}
_PAPERS = {"P": "C", "W": "C", "G": "C", "S": "R", "Q": "R", "V": "A", "B": "N", "Y": "N", "I": "N", "H": "N"}
_NORMALISATIONS, _ACTIVATIONS = frozenset("BYIH"), frozenset("RSQ")


@dataclass(frozen=True)
class Layer:
    """One layer as it ran.

    Attributes
    ----------
    symbol : str
        Letter of the ``types`` alphabet.
    name : str
        The module in which it ran (``features.0``); several layers may share one.
    kernel, stride, groups : int
        Of convolutions and poolings; 0, 0 and 1 elsewhere.
    width : int
        Output channels or features.
    positions : int
        Places of the input map; 1 for vectors.
    """

    symbol: str
    name: str
    kernel: int = 0
    stride: int = 0
    groups: int = 1
    width: int = 0
    positions: int = 1

    @property
    def word(self) -> str:
        """The layer in the ``detailed`` alphabet."""
        groups = f"g{self.groups}" if self.symbol in "GT" and self.groups > 1 else ""
        kernel = f"{self.kernel}/{self.stride}" if self.kernel else ""
        width = f"w{round(math.log2(self.width))}" if self.symbol in "CPWGTL" and self.width else ""
        return f"{self.symbol}{kernel}{groups}{width}"


@dataclass(frozen=True)
class Trace:
    """The layers of a network in the order they ran.

    Attributes
    ----------
    name : str
        The network.
    layers : tuple of Layer
        Its layers.
    device : str
        ``meta``, or ``cpu`` for a network that cannot run without numbers.
    note : str
        Why it was not ``meta``; otherwise empty.
    """

    name: str
    layers: tuple[Layer, ...]
    device: str
    note: str = ""


def layer_symbols(
    model: str | nn.Module,
    level: str = "papers",
    *,
    activations: str | None = None,
    normalisations: bool = True,
    dropout: bool = True,
    collapse: bool = False,
    image_size: int | None = None,
) -> str | tuple[str, ...]:
    """Write a network as symbols, one a layer, in the order the layers run.

    Parameters
    ----------
    model : str or nn.Module
        A name for :func:`~alignment.models.create_model` (also ``module.path:function``), or a module that
        takes images (B, 3, H, W).
    level : {"papers", "types", "detailed"}
        The alphabet; see the module.
    activations : {"separate", "all", "none"}, optional
        ``all`` activations are layers; ``separate`` ones only, not those right after a convolution or a
        linear layer; or ``none``. By default what the papers' own sequences show: ``separate`` for their
        Keras networks, ``all`` for the others.
    normalisations, dropout : bool
        Whether they are layers. A dropout that drops nothing (p = 0) never is.
    collapse : bool
        Write a run of equal symbols once.
    image_size : int, optional
        Side of the images; by default the model's own, or 224.

    Returns
    -------
    str or tuple of str
        A string, a letter a layer; for ``detailed`` a tuple of words.

    Raises
    ------
    InputError
        Unknown name or option, or no layer is left.
    DataError
        The network cannot be run.

    Examples
    --------
    >>> layer_symbols("vgg16")
    'CCMCCMCCCMCCCMCCCMLLL'
    """
    return write_symbols(
        trace_layers(model, image_size),
        level,
        activations=activations,
        normalisations=normalisations,
        dropout=dropout,
        collapse=collapse,
    )


def write_symbols(
    trace: Trace,
    level: str = "papers",
    *,
    activations: str | None = None,
    normalisations: bool = True,
    dropout: bool = True,
    collapse: bool = False,
) -> str | tuple[str, ...]:
    """Write a trace as symbols; parameters as of :func:`layer_symbols`."""
    check_choice(level, "level", "layer_symbols", LEVELS)
    if activations is None:
        activations = "separate" if trace.name in KERAS else "all"
    check_choice(activations, "activations", "layer_symbols", ACTIVATIONS)
    words: list[str] = []
    before = ""
    for layer in trace.layers:
        fused = activations == "separate" and before in tuple("CPWGTL")
        before = layer.symbol
        if layer.symbol in _ACTIVATIONS and (activations == "none" or fused):
            continue
        if (layer.symbol in _NORMALISATIONS and not normalisations) or (layer.symbol == "D" and not dropout):
            continue
        word = layer.word if level == "detailed" else layer.symbol
        if level == "papers":
            word = _PAPERS.get(word, word)
        if not (collapse and words and words[-1] == word):
            words.append(word)
    if not words:
        raise InputError(
            f"{trace.name} has no layer that these options keep, so it has no sequence. It ran "
            f"{len(trace.layers)} layers: keep activations or normalisations, or check its forward."
        )
    return tuple(words) if level == "detailed" else "".join(words)


def trace_layers(model: str | nn.Module, image_size: int | None = None) -> Trace:
    """Run a network once without numbers and note its layers.

    Parameters
    ----------
    model, image_size
        As of :func:`layer_symbols`. A module that is given keeps its weights and its mode.

    Warns
    -----
    UserWarning
        The network does not run on the meta device (it looks at values); it was run on the CPU.

    Raises
    ------
    InputError
        Unknown name, or not a network.
    DataError
        The network cannot be run at all.
    """
    if image_size is not None:
        check_integer(image_size, "image_size", "layer_symbols", low=1)
    if isinstance(model, str):
        return _trace_name(model, image_size)
    if not isinstance(model, nn.Module):
        raise InputError(f"layer_symbols takes a model's name or an nn.Module. Got {type(model).__name__} instead.")
    size = image_size or int(getattr(model, "image_size", 224))
    name = str(getattr(model, "name", type(model).__name__))
    return _trace(name, model, size)


def _trace_name(name: str, image_size: int | None) -> Trace:
    from alignment.models.zoo import create_model, entry

    known = entry(name).name
    source, size = TRACED_AS.get(known, known), image_size or 224
    try:
        with torch.device("meta"):
            model = create_model(source, image_size=size)
    except (RuntimeError, NotImplementedError):  # its constructor computes with values
        model = create_model(source, image_size=size)
    return _trace(known, model, size, lambda: create_model(source, image_size=size))


def _trace(name: str, model: nn.Module, size: int, remake: Any = None) -> Trace:
    try:
        return Trace(name, _run(model, size, "meta"), "meta")
    except (RuntimeError, NotImplementedError, ValueError, TypeError) as error:
        reason = str(error).strip().split("\n")[0]
    try:
        layers = _run(remake() if remake is not None else model, size, "cpu")
    except Exception as error:  # whatever a foreign network raises
        raise DataError(
            f"The network {name} cannot be run on images (1, 3, {size}, {size}): {error}. "
            "Give one that takes such images, or another image_size."
        ) from error
    note = f"{name} does not run on the meta device ({reason}); it was run on the CPU with one {size} px image"
    warnings.warn(note, UserWarning, stacklevel=3)
    return Trace(name, layers, "cpu", note)


def _run(model: nn.Module, size: int, device: str) -> tuple[Layer, ...]:
    state = dict((*model.named_parameters(), *model.named_buffers()))
    image = torch.zeros(1, 3, size, size, device=device)
    if device == "meta":
        state = {name: tensor.to("meta") for name, tensor in state.items()}
    with evaluating(model):
        seen = _Watcher(model)
        try:
            with torch.no_grad(), seen:
                torch.func.functional_call(model, state, (image,))
        finally:
            seen.stop()
    return _with_heads(seen.layers)


class _Watcher(TorchFunctionMode):
    """Note every function of torch that is a layer, and the module it runs in."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.layers: list[Layer] = []
        self._inside = [""]
        self._hooks = []
        for name, module in model.named_modules():
            self._hooks.append(module.register_forward_pre_hook(own(self._enter(name.removeprefix("net.")))))
            self._hooks.append(module.register_forward_hook(own(self._leave), always_call=True))

    def stop(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _enter(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: Any) -> None:
            del module, inputs
            self._inside.append(name)

        return hook

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        del module, inputs, output
        self._inside.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        layer = _layer(func, args, kwargs, output, self._inside[-1])
        if layer is not None:
            self.layers.append(layer)
        return output


def _layer(func: Any, args: Any, kwargs: Any, output: Any, name: str) -> Layer | None:
    called = str(getattr(func, "__name__", "")).rstrip("_")
    image = args[0] if args else kwargs.get("input")
    if not isinstance(image, Tensor):
        return None
    result = output[0] if isinstance(output, tuple) else output
    if called == "mean" and _is_global(image, args, kwargs):
        return _pool("V", name, image, result)
    symbol = _KINDS.get(called)
    if symbol is None or not isinstance(result, Tensor):
        return None
    if symbol in "CT":
        return _convolution(symbol, name, args, kwargs, image, result)
    if symbol in "MA":
        return _pool(symbol, name, image, result)
    if symbol == "D" and _argument(args, kwargs, 1, "p", 0.5) == 0:
        return None
    return Layer(symbol, name, width=result.shape[-1] if symbol == "L" else 0, positions=_positions(image))


def _convolution(symbol: str, name: str, args: Any, kwargs: Any, image: Tensor, result: Tensor) -> Layer:
    weight = args[1] if len(args) > 1 else kwargs["weight"]
    stride = _argument(args, kwargs, 3, "stride", 1)
    groups = int(_argument(args, kwargs, 6, "groups", 1))
    kernel = int(weight.shape[-1])
    channels = image.shape[1 if image.dim() == weight.dim() else 0]
    if symbol == "C" and groups > 1:
        symbol = "W" if groups == channels else "G"
    elif symbol == "C" and max(weight.shape[2:]) == 1:
        symbol = "P"
    step = int(stride[-1] if isinstance(stride, Sequence) else stride)
    width = int(result.shape[1 if result.dim() == weight.dim() else 0])
    return Layer(symbol, name, kernel, step, groups, width, _positions(image))


def _pool(symbol: str, name: str, image: Tensor, result: Tensor) -> Layer | None:
    if _positions(image) == 1:  # the mean or maximum of one value
        return None
    if symbol == "A" and result.dim() == image.dim() and _positions(result) == 1:
        symbol = "V"
    stride = image.shape[-1] // max(1, result.shape[-1]) if symbol != "V" else 0
    return Layer(symbol, name, stride=stride, positions=_positions(image))


def _is_global(image: Tensor, args: Any, kwargs: Any) -> bool:
    """Tell whether a mean is one over both axes of a map."""
    axes = _argument(args, kwargs, 1, "dim", None)
    if image.dim() != 4 or not isinstance(axes, Sequence):
        return False
    return {axis % 4 for axis in axes} in ({2, 3}, {1, 2})


def _with_heads(layers: list[Layer]) -> tuple[Layer, ...]:
    """Take convolutions of the classifier for what they are: where no map is left, they are linear.

    Some definitions write the fully connected layers as convolutions, the first as large as its map.
    """
    last = max((index for index, layer in enumerate(layers) if layer.positions > 1), default=-1)
    found = list(layers)
    for index in range(max(last, 0), len(found)):
        layer = found[index]
        whole = layer.symbol in "CP" and (layer.positions == 1 or layer.kernel**2 == layer.positions > 1)
        if whole and len(found) > 1:
            found[index] = Layer("L", layer.name, width=layer.width, positions=1)
    return tuple(found)


def _positions(tensor: Tensor) -> int:
    return math.prod(tensor.shape[2:]) if tensor.dim() >= 4 else 1


def _argument(args: Any, kwargs: Any, place: int, name: str, default: Any) -> Any:
    return args[place] if len(args) > place else kwargs.get(name, default)

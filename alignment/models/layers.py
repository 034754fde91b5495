"""The layers that stand beside NeuRN in every comparison, and the way to put one before a model or inside it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from alignment._validation import check_choice, check_integer, check_number
from alignment.models._hooks import own
from alignment.models._local_std import BORDERS, _pad
from alignment.models.neurn import GREY_LEVEL, NeuRN, check_image
from alignment.models.stages import stage_ends
from neural_alignment import DataError, InputError, closest

__all__ = [
    "LAYER_VARIANTS",
    "LocalContrast",
    "LocalResponse",
    "Sobel",
    "Standardise",
    "WithLayer",
    "create_layer",
    "with_layer",
    "with_neurn",
]


class LocalResponse(nn.Module):
    """Local response normalisation across channels (Krizhevsky et al., 2012).

    Parameters
    ----------
    size : int, default 5
        How many neighbouring channels the sum spans; a colour image has three.
    alpha, beta, bias : float
        Of x / (bias + alpha · Σ x²)^beta: AlexNet's 1e-4, 0.75 and 2, with ``alpha`` times 255² because its
        pixels counted in grey levels, and on pixels in [0, 1] the published number would do next to nothing.
    """

    def __init__(self, size: int = 5, alpha: float = 1e-4 * 255**2, beta: float = 0.75, bias: float = 2.0) -> None:
        super().__init__()
        self.size = check_integer(size, "size", "LocalResponse", low=1)
        self.alpha = check_number(alpha, "alpha", "LocalResponse", low=0)
        self.beta = check_number(beta, "beta", "LocalResponse", low=0)
        self.bias = check_number(bias, "bias", "LocalResponse", low=0, open_low=True)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        check_image(image, "LocalResponse")
        wide = image if image.dtype == torch.float64 else image.float()
        # Autocast would run the root in half precision.
        with torch.autocast(image.device.type, enabled=False):
            result = functional.local_response_norm(wide, self.size, self.alpha * self.size, self.beta, self.bias)
        return result.to(image.dtype)


class LocalContrast(nn.Module):
    """Local contrast normalisation (Jarrett et al., 2009): less the local mean, perhaps over the local σ.

    Parameters
    ----------
    k : int, default 9
        Side of the Gaussian window, odd; its standard deviation is k/4. The window is weighted to sum to 1
        per channel.
    divisive : bool, default False
        Divide by max(mean σ of the image, σ) after the subtraction; σ is over all channels and at least a
        grey level.
    border : {"reflect", "replicate", "zeros"}
        What the window sees outside of the image.
    """

    window: Tensor

    def __init__(self, k: int = 9, divisive: bool = False, border: str = "reflect") -> None:
        super().__init__()
        self.k = check_integer(k, "k", "LocalContrast", low=3, odd=True)
        self.divisive = bool(divisive)
        self.border = check_choice(border, "border", "LocalContrast", BORDERS)
        axis = torch.arange(k, dtype=torch.float32) - k // 2
        window = torch.exp(-0.5 * (axis / (k / 4)) ** 2)
        self.register_buffer("window", window / window.sum(), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        check_image(image, "LocalContrast")
        # As NeuRN's, the statistics keep float32 whatever autocast would make of a convolution.
        with torch.autocast(image.device.type, enabled=False):
            centred = image if image.dtype == torch.float64 else image.float()
            centred = centred - self._blur(centred)
            if self.divisive:
                power = self._blur(centred.square()).sum(1, keepdim=True)
                # Held at one grey level, so that rounding on flat images is not blown up.
                sigma = power.clamp_min(GREY_LEVEL**2).sqrt()
                centred = centred / torch.maximum(sigma, sigma.mean(dim=(2, 3), keepdim=True))
        return centred.to(image.dtype)

    def _blur(self, image: Tensor) -> Tensor:
        channels = image.shape[1]
        image = _pad(image, self.k // 2, self.border)
        window = self.window.to(image.dtype)
        across = window.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
        image = functional.conv2d(image, across, groups=channels)
        down = window.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
        return functional.conv2d(image, down, groups=channels)


class Standardise(nn.Module):
    """Each image to mean 0 and standard deviation 1 over its pixels and channels; a flat image gives zeros.

    The deviation is held at one grey level or above, so that the noise of a nearly flat image is not blown
    up.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        check_image(image, "Standardise")
        wide = image.float() if image.dtype != torch.float64 else image
        centred = wide - wide.mean(dim=(1, 2, 3), keepdim=True)
        sigma = centred.square().mean(dim=(1, 2, 3), keepdim=True).clamp_min(GREY_LEVEL**2).sqrt()
        return (centred / sigma).to(image.dtype)


class Sobel(nn.Module):
    """Magnitude of the Sobel gradient over its maximum in the image: the control for NeuRN being an edge map.

    Parameters
    ----------
    border : {"reflect", "replicate", "zeros"}
        What the 3×3 kernels see outside of the image.
    """

    def __init__(self, border: str = "reflect") -> None:
        super().__init__()
        self.border = check_choice(border, "border", "Sobel", BORDERS)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape, in [0, 1]."""
        check_image(image, "Sobel")
        wide = _pad(image.float() if image.dtype != torch.float64 else image, 1, self.border)
        # Differences first, then the [1, 2, 1] sums: a flat patch stays exactly 0.
        dx = wide[..., 2:] - wide[..., :-2]
        dy = wide[..., 2:, :] - wide[..., :-2, :]
        dx = dx[..., :-2, :] + 2 * dx[..., 1:-1, :] + dx[..., 2:, :]
        dy = dy[..., :-2] + 2 * dy[..., 1:-1] + dy[..., 2:]
        power = dx.square() + dy.square()
        flat = power == 0
        magnitude = torch.where(flat, 0.0, torch.where(flat, 1.0, power).sqrt())
        peak = magnitude.amax(dim=(1, 2, 3), keepdim=True)
        return (magnitude / torch.where(peak == 0, 1.0, peak)).to(image.dtype)


def _lcn_divisive(k: int = 9, border: str = "reflect") -> LocalContrast:
    return LocalContrast(k, divisive=True, border=border)


def _lcn(k: int = 9, border: str = "reflect") -> LocalContrast:
    return LocalContrast(k, border=border)


def _neurn_raw(k: int = 3, border: str = "reflect") -> NeuRN:
    return NeuRN(k, border, scope="none")


_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "baseline": lambda: nn.Identity(),
    "neurn": NeuRN,
    "lrn": LocalResponse,
    "lcn": _lcn,
    "lcn_divisive": _lcn_divisive,
    "standardise": Standardise,
    "sobel": Sobel,
    "neurn_raw": _neurn_raw,
}
LAYER_VARIANTS = tuple(_BUILDERS)


def create_layer(name: str, **options: Any) -> nn.Module:
    """Build one of the front layers that experiments compare.

    Parameters
    ----------
    name : str
        ``baseline`` (nothing), ``neurn``, ``lrn``, ``lcn`` (subtractive), ``lcn_divisive``, ``standardise``,
        ``sobel`` or ``neurn_raw`` (NeuRN without c).
    **options
        The layer's own parameters, such as ``k`` and ``border``.

    Returns
    -------
    nn.Module
        (B, C, H, W) -> (B, C, H, W), without trainable weights and with an empty ``state_dict``.

    Examples
    --------
    >>> create_layer("neurn_raw", k=5)
    NeuRN(k=5, border='reflect', scope='none', form='contrast')
    >>> len(create_layer("lcn").state_dict())
    0
    """
    build = _BUILDERS[check_choice(name, "layer", "create_layer", LAYER_VARIANTS)]
    allowed = [p for p in inspect.signature(build).parameters if p not in ("args", "kwargs")]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        listed = ", ".join(repr(option) for option in allowed) or "none"
        raise InputError(f"The layer {name!r} takes the options {listed}. Got {unknown[0]!r} as well: remove it.")
    return build(**options)


class WithLayer(nn.Module):
    """A layer in front of a model or inside it, looking outward as the model does.

    Attributes
    ----------
    layer : nn.Module
        What the images pass first, or the output of the module ``after``.
    model : nn.Module
        The model; where it is one of :func:`~alignment.models.create_model`, its ``name``,
        ``image_size``, ``net`` and ``preprocessing`` can be read here too.
    layer_variant : str
        The layer's name in :data:`LAYER_VARIANTS`.
    after : str
        The module of the model whose output passes the layer; empty for a layer in front.

    Raises
    ------
    DataError
        From a forward pass in which the module ``after`` did not run in the calling thread.
    """

    def __init__(self, layer: nn.Module, model: nn.Module, layer_variant: str, after: str = "") -> None:
        super().__init__()
        self.layer = layer
        self.model = model
        self.layer_variant = layer_variant
        self.after = after

    def forward(self, image: Tensor) -> Any:
        """Return what the model makes of the images with the layer in its place."""
        if not self.after:
            return self.model(self.layer(image))
        passed = []

        def put(module: nn.Module, inputs: Any, output: Any) -> Any:
            passed.append(True)
            return self.layer(output)

        # Only while it runs, and in this thread: the model is shared, and stays what it is for everybody else.
        handle = self.model.get_submodule(self.after).register_forward_hook(own(put))
        try:
            output = self.model(image)
        finally:
            handle.remove()
        if not passed:
            raise DataError(
                f"The module {self.after!r} of the network did not run in this thread, so that nothing passed the "
                f"layer {self.layer_variant!r} after it. Put the layer after a module that runs in every pass, and "
                "run the network without wrappers that share a batch among threads."
            )
        return output

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in (
                "name",
                "image_size",
                "net",
                "preprocessing",
                "entry",
                "small_form",
                "weights_source",
            ):
                return getattr(super().__getattr__("model"), name)
            raise


def with_layer(model: nn.Module, name: str, position: str | int = "input", **options: Any) -> WithLayer:
    """Put the named layer in front of a model, or inside it; the model itself is shared, not copied.

    Parameters
    ----------
    model : nn.Module
        Takes images (B, C, H, W) in [0, 1].
    name : str
        One of :data:`LAYER_VARIANTS`; ``baseline`` puts nothing there.
    position : str or int, default "input"
        ``"input"``; n for after the n-th stage of convolutional maps, counted from 1 (a stage ends where the maps
        next become smaller, see :func:`~alignment.models.stages.stage_ends`); or the name of the module to stand
        after, which must give maps (B, C, H, W).
    **options
        The layer's own parameters.

    Raises
    ------
    InputError
        Unknown layer, option, stage or module.

    Examples
    --------
    >>> import torch
    >>> model = with_layer(torch.nn.Flatten(), "standardise")
    >>> model(torch.rand(2, 3, 8, 8)).shape
    torch.Size([2, 192])
    """
    layer = create_layer(name, **options)
    if not isinstance(model, nn.Module):
        raise InputError(f"with_layer takes a torch module to put the layer before. Got {type(model).__name__}.")
    return WithLayer(layer, model, name, _place(model, position))


def _place(model: nn.Module, position: str | int) -> str:
    """Return the name of the module that a position means; empty for the input."""
    if position == "input":
        return ""
    if isinstance(position, str):
        names = [name for name, _ in model.named_modules() if name]
        inside = f"net.{position}"  # a model of the zoo: its layers are known by the bare network's names
        if position in names or inside in names:
            return position if position in names else inside
        hint = closest(position, [name.removeprefix("net.") for name in names])
        raise InputError(f"The network has no module {position!r} to put a layer after.{hint}")
    check_integer(position, "position", "with_layer", low=1)
    weight = next(model.parameters(), torch.zeros(()))
    size = int(getattr(model, "image_size", 64))
    ends = stage_ends(model, torch.zeros(2, 3, size, size, device=weight.device, dtype=weight.dtype))
    if position > len(ends):
        listed = ", ".join(ends) or "none"
        raise InputError(
            f"The network has {len(ends)} stages of maps to put a layer after ({listed}). Got position {position}: "
            "take a lower one, or name a module."
        )
    return ends[position - 1]


def with_neurn(model: nn.Module, **options: Any) -> WithLayer:
    """Put :class:`~alignment.models.NeuRN` in front of a model.

    Parameters
    ----------
    model : nn.Module
        Takes images (B, C, H, W) in [0, 1].
    **options
        NeuRN's ``k``, ``border``, ``scope`` and ``form``.

    Examples
    --------
    >>> import torch
    >>> with_neurn(torch.nn.Flatten(), k=5).layer
    NeuRN(k=5, border='reflect', scope='image', form='contrast')
    """
    return with_layer(model, "neurn", **options)

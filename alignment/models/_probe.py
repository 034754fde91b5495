"""Which modules of a network run, in what order, with what shape, and which of them a caller means."""

from __future__ import annotations

import fnmatch
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from alignment.models._hooks import own
from neural_alignment import DataError, InputError, closest

__all__ = ["AUTO_LAYERS", "Call", "Layout", "choose", "fold", "hooked", "layout_of", "probe"]

# How many layers "auto" takes.
AUTO_LAYERS = 12
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
# timm joins a normalisation with its nonlinearity in subclasses of these.
_NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)
_REGISTERS = (0, 1, 2, 3, 5, 9)


@dataclass(frozen=True)
class Layout:
    """How an output holds units: ``maps`` (B, C, H, W), ``maps_last`` (B, H, W, C), ``tokens`` (B, N, C)."""

    kind: str
    units: int
    height: int
    width: int
    prefix: int = 0


@dataclass(frozen=True)
class Call:
    """One run of one module in a forward pass.

    ``name`` is the module's, with ``#2``, ``#3``, ... for its later runs in the same pass. ``layout`` is None
    where the output has no spatial or token shape; ``shape`` is then what it has.
    """

    name: str
    module: str
    layout: Layout | None
    shape: tuple[int, ...]
    leaf: bool
    activation: bool
    numbers: int


class TokenGrid:
    """What a network says about its tokens: their grid, and how its 4-D outputs put channels."""

    def __init__(self, net: nn.Module, image: Sequence[int]) -> None:
        patches = getattr(net, "patch_embed", None)
        grid = getattr(patches, "grid_size", None)
        self.grid = (int(grid[0]), int(grid[1])) if grid is not None and len(grid) == 2 else None
        # A transformer's 4-D outputs other than its patch maps are attention's: heads and tokens, not units
        # in space.
        self.tokens_only = self.grid is not None and hasattr(net, "pos_embed") and hasattr(net, "cls_token")
        self.channels_last = "NHWC" in str(getattr(net, "output_fmt", ""))
        self.square = image[-2] == image[-1]


def layout_of(shape: Sequence[int], batch: int, hints: TokenGrid) -> Layout | None:
    """Tell how an output of this shape lays out its units, or None where it has no place in space."""
    if len(shape) == 4 and shape[0] == batch:
        return _four(shape, hints)
    if len(shape) == 3 and shape[0] == batch:
        found = _token_grid(shape[1], hints)
        if found is not None:
            height, width, prefix = found
            return Layout("tokens", shape[2], height, width, prefix)
    return None


def _four(shape: Sequence[int], hints: TokenGrid) -> Layout | None:
    _, a, b, c = shape
    first = Layout("maps", a, b, c)
    if hints.tokens_only:
        return first if (b, c) == hints.grid else None
    if not hints.square:
        return Layout("maps_last", c, a, b) if hints.channels_last else first
    # Square images stay square, so that the equal pair of axes is the space.
    if b == c and not (a == b and hints.channels_last):
        return first
    return Layout("maps_last", c, a, b) if a == b else None


def _token_grid(tokens: int, hints: TokenGrid) -> tuple[int, int, int] | None:
    if hints.grid is not None:
        height, width = hints.grid
        prefix = tokens - height * width
        if 0 <= prefix <= max(_REGISTERS):
            return height, width, prefix
    for prefix in _REGISTERS:
        side = math.isqrt(max(tokens - prefix, 0))
        if side > 1 and side * side == tokens - prefix:
            return side, side, prefix
    return None


def fold(output: Tensor, layout: Layout) -> Tensor:
    """View an output as maps (B, C, H, W), without class and register tokens, which have no place."""
    if layout.kind == "maps":
        return output
    if layout.kind == "maps_last":
        return output.permute(0, 3, 1, 2)
    patches = output[:, layout.prefix :].transpose(1, 2)
    return patches.reshape(output.shape[0], layout.units, layout.height, layout.width)


def first_tensor(output: Any) -> Tensor | None:
    """Return the first tensor in a module's output: itself, or the first in its tuple, list or mapping."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = output.values()
    if isinstance(output, Iterable) and not isinstance(output, (str, bytes)):
        for item in output:
            found = first_tensor(item)
            if found is not None:
                return found
    return None


@contextmanager
def hooked(modules: Mapping[str, nn.Module], see: Callable[[str, Tensor], None], opaque: bool = False) -> Any:
    """Call ``see(call name, output)`` after every run of the modules; yields what starts a new pass."""
    runs: Counter[str] = Counter()

    def make(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            runs[name] += 1
            tensor = first_tensor(output)
            if tensor is not None:
                see(name if runs[name] == 1 else f"{name}#{runs[name]}", tensor)

        return hook

    with ExitStack() as stack:
        for name, module in modules.items():
            # A compiler must call what is there, not bake in what the hook did to the first batch.
            hook = own(make(name))
            if opaque:
                hook = torch.compiler.disable(hook)  # type: ignore[no-untyped-call]
            stack.callback(module.register_forward_hook(hook).remove)
        yield runs.clear


def probe(model: nn.Module, net: nn.Module, image: Tensor) -> list[Call]:
    """Run one image and list every module's runs, in execution order."""
    hints = TokenGrid(net, image.shape)
    modules = {name: module for name, module in net.named_modules() if name}
    calls: list[Call] = []

    def see(name: str, output: Tensor) -> None:
        module = modules[name.partition("#")[0]]
        shape = tuple(output.shape)
        calls.append(
            Call(
                name,
                name.partition("#")[0],
                layout_of(shape, image.shape[0], hints) if output.is_floating_point() else None,
                shape,
                is_leaf(module),
                _is_activation(module),
                output.numel() // max(1, shape[0]) if shape else 1,
            )
        )

    with hooked(modules, see), torch.no_grad():
        try:
            model(image)
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            raise DataError(
                f"The network cannot take images of {image.shape[-2]}x{image.shape[-1]}: "
                f"{(str(error).splitlines() or ['no reason given'])[0][:200]}."
            ) from error
    return calls


def choose(net: nn.Module, calls: list[Call], layers: str | Iterable[str]) -> tuple[list[Call], dict[str, str]]:
    """Pick the runs that ``layers`` asks for, in execution order, and say why others were passed over."""
    wanted = [layers] if isinstance(layers, str) else list(layers)
    if not wanted or not all(isinstance(item, str) and item for item in wanted):
        raise InputError(
            "The 'layers' parameter of extract_activations must be 'auto', 'blocks', 'all', a module's "
            "name, a glob, or "
            f"a list of these. Got {layers!r} instead."
        )
    chosen: set[str] = set()
    skipped: dict[str, str] = {}
    for item in wanted:
        if item in ("auto", "blocks", "all"):
            found = {"auto": _auto, "blocks": _blocks, "all": _all}[item](net, calls)
        elif any(sign in item for sign in "*?["):
            found = [c for c in calls if fnmatch.fnmatchcase(c.name, item)]
            if not found:
                raise InputError(f"No layer that runs matches {item!r}. Layers are named like {_some(calls)}.")
        else:
            found = _named(net, calls, item)
        chosen.update(c.name for c in found if c.layout is not None)
        skipped.update({c.name: _why(c) for c in found if c.layout is None})
    if not chosen:
        raise InputError(
            f"None of the layers that {layers!r} asks for has a spatial or token shape. Layers that do are "
            "named like "
            f"{_some([c for c in calls if c.layout is not None])}."
        )
    return [c for c in calls if c.name in chosen], skipped


def _named(net: nn.Module, calls: list[Call], name: str) -> list[Call]:
    module = name.partition("#")[0]
    known = [n for n, _ in net.named_modules() if n]
    if module not in known:
        raise InputError(f"Unknown layer {name!r}: the network has no such module.{closest(name, known)}")
    found = [c for c in calls if name in (c.name, c.module)]
    if not found:
        runs = sum(c.module == module for c in calls)
        if runs:
            raise InputError(f"The layer {module!r} runs {runs} times in a pass; there is no {name!r}.")
        raise InputError(
            f"The layer {name!r} never ran: the network's forward does not call it with images. Choose one "
            "like "
            f"{_some(calls)}."
        )
    for call in found:
        if call.layout is None:
            raise InputError(
                f"The layer {call.name!r} {_why(call)}, so that its units have no maps. Choose an earlier "
                "one, like "
                f"{_some([c for c in calls if c.layout is not None][-3:])}."
            )
    return found


def _all(net: nn.Module, calls: list[Call]) -> list[Call]:
    return [c for c in calls if c.leaf]


def _blocks(net: nn.Module, calls: list[Call]) -> list[Call]:
    names = set(_block_names(net, ""))
    return [c for c in calls if c.module in names]


def _block_names(module: nn.Module, prefix: str) -> list[str]:
    """Name the outermost modules that are neither containers nor leaves: a network's blocks."""
    names: list[str] = []
    for name, child in module.named_children():
        path = f"{prefix}{name}"
        # A bare nn.Module is a name space; what has a container called "blocks" is a stage of blocks.
        if isinstance(child, _CONTAINERS) or type(child) is nn.Module:
            names += _block_names(child, path + ".")
        elif isinstance(getattr(child, "blocks", None), _CONTAINERS):
            names += _block_names(child.get_submodule("blocks"), path + ".blocks.")
        elif not is_leaf(child):
            names.append(path)
    if len(names) == 1 and not prefix:
        # A wrapper around the network proper.
        inner = _block_names(module.get_submodule(names[0]), names[0] + ".")
        return inner if len(inner) > 1 else names
    return names


def is_leaf(module: nn.Module) -> bool:
    """Tell whether a module is one step: without children, or a normalisation with its nonlinearity."""
    return next(module.children(), None) is None or isinstance(module, _NORMS)


def _auto(net: nn.Module, calls: list[Call]) -> list[Call]:
    spatial = [c for c in calls if c.layout is not None and c.layout.height * c.layout.width > 1]
    candidates = _blocks(net, spatial)
    if len(candidates) < 4:
        candidates = [c for c in spatial if c.leaf and c.activation]
    if len(candidates) < 3:
        candidates = [c for c in spatial if c.leaf]
    if not candidates:
        candidates = spatial
    vectors = [c for c in calls if c.leaf and c.layout is None]
    if len(candidates) <= AUTO_LAYERS:
        return [*candidates, *vectors]
    last = len(candidates) - 1
    picks = {round(i * last / (AUTO_LAYERS - 1)) for i in range(AUTO_LAYERS)}
    return [*(candidates[i] for i in sorted(picks)), *vectors]


def _is_activation(module: nn.Module) -> bool:
    kind = type(module)
    where = kind.__module__
    return where == "torch.nn.modules.activation" or ".activations" in where or kind.__name__ == "BatchNormAct2d"


def _why(call: Call) -> str:
    each = "x".join(map(str, call.shape[1:])) or "a number"
    return f"has no spatial or token shape (its output is {each} an image)"


def _some(calls: list[Call]) -> str:
    names = [c.name for c in calls]
    shown = names if len(names) <= 3 else [names[0], names[len(names) // 2], names[-1]]
    return ", ".join(repr(name) for name in shown)

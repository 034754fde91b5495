"""Weights from files, safely: what fits, what does not, and the digest that results are filed under."""

from __future__ import annotations

import hashlib
import pickle
import pickletools
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neural_alignment import DataError, InputError

__all__ = ["PREFIXES", "check_finite", "load_weights", "network_of", "read_weights", "weights_digest"]

# What training wrappers put before a network's own names; stripped while every key of a file has one.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "backbone.", "encoder.", "network.", "state_dict.")
# What torch and safetensors raise on files that are cut or are something else.
_UNREADABLE = (
    OSError, EOFError, RuntimeError, ValueError, LookupError, AttributeError, TypeError, struct.error,
    zipfile.BadZipFile,
)  # fmt: skip
# Keys under which checkpoints keep the weights beside an optimiser, an epoch and the like.
_NESTS = ("state_dict", "model_state_dict", "model", "model_state", "net", "weights", "params", "module")
# How many mappings inside of one another, or beside, are looked into.
_MOST_MAPPINGS = 64


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of a network's parameters and buffers: names, types, shapes and values.

    Parameters
    ----------
    module : nn.Module
        For a model of :func:`~alignment.models.create_model`, with or without a layer in front, the network
        inside is taken: NeuRN and its companions have no weights and do not change the digest.

    Returns
    -------
    str
        64 hexadecimal characters, the same on every device and in every process.

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.Linear(2, 1)
    >>> weights_digest(layer) == weights_digest(torch.nn.Sequential(layer)[0])
    True
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network_of(module).state_dict().items()):
        value = tensor.detach().cpu().contiguous()
        digest.update(f"{name}|{str(value.dtype).removeprefix('torch.')}|{tuple(value.shape)}|".encode())
        digest.update(memoryview(value.reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()


def network_of(module: nn.Module) -> nn.Module:
    """Return the bare network inside of a model of the zoo and of layers before it, or the module itself."""
    net = getattr(module, "net", None)
    if isinstance(net, nn.Module) and hasattr(module, "preprocessing"):
        return net
    model = getattr(module, "model", None)
    if isinstance(model, nn.Module) and hasattr(module, "layer_variant"):
        return network_of(model)
    return module


def load_weights(module: nn.Module, path: str | Path, *, new_head: bool = False) -> dict[str, Any]:
    """Load a file of weights into a network, or say what does not fit.

    Parameters
    ----------
    module : nn.Module
        A network, or a model of :func:`~alignment.models.create_model` (its ``net`` is loaded).
    path : str or Path
        A ``.safetensors`` file, or a checkpoint of ``torch.save`` that holds tensors and plain containers
        only. It is read with ``weights_only=True``: a file that would run code is refused.
    new_head : bool, default False
        Leave the network's classifier as it is where the file's has another number of classes.

    Returns
    -------
    dict
        ``path``, ``prefix`` (what was stripped from the names), ``missing`` and ``unexpected`` (names that do
        not matter: counters of batch normalisation), and ``new_head`` (names left as they were).

    Raises
    ------
    DataError
        The file is missing, truncated, not a checkpoint, needs code to load, or belongs to another
        architecture; the message lists the missing, unexpected and misshapen names.
    """
    path = Path(path)
    return {"path": str(path), **fit_weights(module, read_weights(path), path, new_head=new_head)}


def fit_weights(
    module: nn.Module, found: Mapping[str, Tensor], path: str | Path, *, new_head: bool = False
) -> dict[str, Any]:
    """Load named tensors into a network as :func:`load_weights` does; ``path`` is what messages call them."""
    net = network_of(module)
    expected = net.state_dict()
    prefix = _prefix(found, expected)
    found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    fresh = _other_classes(found, expected) if new_head else []
    found = {**found, **{name: expected[name] for name in fresh}}
    missing = sorted(set(expected) - set(found))
    unexpected = sorted(set(found) - set(expected))
    shapes = [
        f"{name} is {_shape(found[name])} in the file and {_shape(expected[name])} in the network"
        for name in sorted(set(found) & set(expected))
        if found[name].shape != expected[name].shape
    ]
    # Without their counters, batch-norm statistics are as good; files of other frameworks have none.
    serious = [name for name in missing if not name.endswith("num_batches_tracked")]
    if shapes or serious or unexpected:
        raise DataError(_mismatch(path, net, serious, unexpected, shapes))
    check_finite(found, str(path))
    net.load_state_dict(found, strict=False)
    return {"prefix": prefix, "missing": missing, "unexpected": unexpected, "new_head": fresh}


def _other_classes(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Name the tensors of a classifier of another number of classes; none where more than one layer differs."""
    other = [name for name in expected if name in found and found[name].shape != expected[name].shape]
    pairs = [(found[name].shape, expected[name].shape) for name in other]
    alike = all(len(theirs) > 0 and theirs[1:] == ours[1:] for theirs, ours in pairs)
    layers = {name.rpartition(".")[0] for name in other}
    return other if alike and len(layers) == 1 else []


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the named tensors of a safetensors file or a checkpoint, running no code of it."""
    if not path.is_file():
        raise DataError(f"There is no file of weights at {path}. Give a .safetensors file or a checkpoint.")
    try:
        content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_checkpoint(path)
    except (pickle.UnpicklingError, *_UNREADABLE) as error:
        code = _code(path, error)
        if not code:
            raise DataError(_broken(path, error)) from None
        raise DataError(
            f"{path} is a pickle that needs code to load ({code}), and running code from a file of "
            "weights is refused. Where you trust it, open it once in the environment that wrote it and "
            "save the "
            "tensors alone: safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')."
        ) from None
    tensors = _tensors(content)
    if not tensors:
        raise DataError(f"{path} holds no named tensors. Save the network's state_dict() in it.")
    return tensors


def check_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    """Refuse weights with a NaN or an infinity, naming the first ones."""
    # A sum is finite only where every term is, and costs no second tensor; a sum may overflow, so doubt is
    # settled.
    doubted = [n for n, t in tensors.items() if t.is_floating_point() and not bool(torch.isfinite(t.sum()))]
    bad = [n for n in doubted if not bool(torch.isfinite(tensors[n]).all())]
    if bad:
        listed = ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
        raise DataError(f"The weights of {where} hold NaN or infinite values, in {listed}: training diverged.")


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _read_checkpoint(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _code(path: Path, error: BaseException) -> str:
    """Say what code a pickle calls for; empty where the fault is another."""
    named = re.search(r"GLOBAL (\S+)", str(error))
    if named:
        return f"it calls for {named[1]}"
    # torch gives up on other protocols than 2 before it comes to the code. Instructions are listed here, not followed.
    calls = False
    try:
        with path.open("rb") as file:
            for instruction, _, _ in pickletools.genops(file):
                calls |= instruction.name in ("GLOBAL", "STACK_GLOBAL", "INST")
    except (ValueError, OSError):  # no pickle, or one that is cut
        return ""
    return "it calls for functions or classes" if calls else ""


def _broken(path: Path, error: BaseException) -> str:
    with path.open("rb") as file:
        start = file.read(512)
    if re.match(rb"\s*<(!doctype|!--|html|\?xml)", start, re.IGNORECASE):
        return (
            f"{path} is a web page, not a file of weights: where it was fetched from, an error or a page for readers "
            "was sent instead. Look at it in a browser, and fetch the file itself."
        )
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # What torch says beside the fault is how to load the file unsafely.
    first = next((line for line in lines if line.startswith("Unsupported")), lines[0]).partition(". ")[0]
    return (
        f"{path} cannot be read as a file of weights ({first[:160]}): it is truncated, damaged or another "
        "kind of file. "
        "Fetch or save it again; .safetensors and checkpoints of torch.save are read."
    )


def _tensors(content: Any, seen: set[int] | None = None) -> dict[str, Tensor]:
    """Find the named tensors of a network in what a file holds.

    What stands under one of the keys that checkpoints use comes before tensors beside it: PyTorch's example for
    ImageNet keeps ``best_acc1`` next to ``state_dict``. A mapping is looked into once, even one that holds itself.
    """
    seen = set() if seen is None else seen
    if not isinstance(content, Mapping) or id(content) in seen or len(seen) > _MOST_MAPPINGS:
        return {}
    seen.add(id(content))
    for key in _NESTS:
        inner = _tensors(content.get(key), seen)
        if inner:
            return inner
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _prefix(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Find the longest chain of wrapper prefixes that all names share and without which more are known."""
    best, most, prefix = "", len(set(found) & set(expected)), ""
    while True:
        for candidate in PREFIXES:
            if all(name.startswith(prefix + candidate) for name in found):
                prefix += candidate
                break
        else:
            return best
        known = sum(name.removeprefix(prefix) in expected for name in found)
        if known > most:
            best, most = prefix, known


def _mismatch(path: str | Path, net: nn.Module, missing: list[str], unexpected: list[str], shapes: list[str]) -> str:
    parts = []
    for label, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes)):
        if names:
            shown = "; ".join(names[:4]) if label == "of another shape" else ", ".join(names[:4])
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            parts.append(f"{len(names)} {label}: {shown}{more}")
    hint = "Choose the network that the file was saved from"
    if shapes and not missing and not unexpected:
        hint += ", with the same num_classes, image_size and width"
    return f"{path} does not fit {type(net).__name__}; {'. '.join(parts)}. {hint}."


def _shape(tensor: Tensor) -> str:
    return "x".join(str(n) for n in tensor.shape) or "a scalar"


def resolve_weights(weights: object) -> str:
    """Return the ``weights`` argument of ``create_model`` as text; refuse what is neither text nor a path."""
    if isinstance(weights, (str, Path)) and str(weights):
        return str(weights)
    raise InputError(
        "The 'weights' parameter of create_model must be None, a file of weights, 'timm' or 'timm:NAME'. "
        f"Got {weights!r} instead."
    )

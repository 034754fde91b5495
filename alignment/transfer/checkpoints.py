"""Checkpoints of a training: one safetensors file, replaced whole after every epoch.

Tensors (weights, the best weights, the optimiser's moments) lie in the file's body and everything else as
JSON in its header, so one atomic rename moves all of it forward together: whenever the process dies, the
file holds one complete epoch. Random numbers need no state of their own, because every epoch draws from the
seed and its own number.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neural_alignment import DataError

__all__ = ["CHECKPOINT_NAME", "read_checkpoint", "state_digest", "write_checkpoint"]

CHECKPOINT_NAME = "checkpoint.safetensors"
_FORMAT = "neural-alignment checkpoint 1"


def state_digest(module: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and values of a module's parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_checkpoint(folder: Path, tensors: Mapping[str, Tensor], told: Mapping[str, Any]) -> Path:
    """Replace the checkpoint in ``folder``, atomically.

    Parameters
    ----------
    folder : Path
        Made when it is not there.
    tensors : mapping of str to Tensor
        What to keep; copied, so that they may share memory.
    told : mapping
        JSON-able.

    Returns
    -------
    Path
        The checkpoint.

    Raises
    ------
    DataError
        The folder cannot be written to, or the disk is full.
    """
    from safetensors.torch import save

    content = save(
        {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()},
        metadata={"format": _FORMAT, "told": json.dumps(dict(told))},
    )
    target = folder / CHECKPOINT_NAME
    temporary = folder / f"{CHECKPOINT_NAME}.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise DataError(f"The checkpoint {target} cannot be written: {error.strerror or error}.") from error
    return target


def read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read the checkpoint in ``folder``.

    Parameters
    ----------
    folder : Path
        As given to :func:`write_checkpoint`.

    Returns
    -------
    tensors : dict of str to Tensor
        On the CPU.
    told : dict
        As it was written. None instead of both where there is no checkpoint.

    Raises
    ------
    DataError
        The file is damaged, or no checkpoint of this kind.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / CHECKPOINT_NAME
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        if header.get("format") != _FORMAT:
            raise ValueError("it is of another kind")
        return tensors, json.loads(header["told"])
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise DataError(f"The checkpoint {path} cannot be read: {error}. Remove it to train from the start.") from error

"""The one door to timm and torchvision, with the step that lets them stand beside a CPU-only torch.

The wheel of torchvision that plain ``pip install`` finds is built for a CUDA torch. Beside a CPU-only torch
its compiled operators cannot be loaded, and because torchvision describes two of them at import, ``import
torchvision`` (and with it ``import timm``) fails with *operator torchvision::nms does not exist*. Nothing
here needs those operators, which belong to object detection: declaring their names is enough for everything
else to work, and calling one still raises a clear error. The step must run before the first import in every
process, Dask workers included, which is why every import of the two libraries in this project goes through
this module.
"""

from __future__ import annotations

import functools
import importlib.util
from importlib import metadata
from pathlib import Path
from types import ModuleType

import torch

from neural_alignment import DataError

__all__ = ["prepare_torchvision", "timm", "torchvision", "torchvision_state"]

# Signatures of the two operators that torchvision describes at import.
_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
# A torch Library withdraws its definitions when it is collected, so it lives as long as the process.
_kept: list[torch.library.Library] = []


@functools.cache
def prepare_torchvision() -> str:
    """Make torchvision importable beside this torch; runs once in a process.

    Returns
    -------
    str
        ``"cuda"`` (a CUDA torch: nothing to do), ``"loaded"`` (its operators load beside this CPU torch),
        ``"declared"`` (they do not; their names are declared) or ``"missing"`` (torchvision is not
        installed).
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return "missing"
    if torch.version.cuda is not None or torch.version.hip is not None:
        return "cuda"
    for library in sorted(Path(spec.origin).parent.glob("_C*.*")):
        try:
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
        except OSError:
            continue
        return "loaded"
    fragment = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            fragment.define(schema)  # type: ignore[no-untyped-call]
    _kept.append(fragment)
    return "declared"


def torchvision_state() -> str:
    """Say in one sentence how torchvision stands beside torch in this process (for ``nalign doctor``).

    Examples
    --------
    >>> torchvision_state().startswith("torchvision")
    True
    """
    state = prepare_torchvision()
    if state == "missing":
        return "torchvision is not installed: pip install -r requirements.txt"
    both = f"torchvision {metadata.version('torchvision')} beside torch {torch.__version__}"
    told = {
        "cuda": "used as installed",
        "loaded": "its compiled operators load",
        "declared": "built for a CUDA torch; its detection operators (nms) are declared only, "
        "which classification and segmentation networks do not need",
    }
    return f"{both}: {told[state]}"


def torchvision(submodule: str = "") -> ModuleType:
    """Import torchvision, or one of its submodules (``"models"``, ``"datasets"``), ready for this torch."""
    return _import("torchvision", submodule)


def timm(submodule: str = "") -> ModuleType:
    """Import timm, or one of its submodules (``"models"``, ``"data"``), ready for this torch."""
    return _import("timm", submodule)


def _import(package: str, submodule: str) -> ModuleType:
    prepare_torchvision()
    name = f"{package}.{submodule}" if submodule else package
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        raise DataError(
            f"{name} cannot be imported: {error}. Install the pinned versions with 'pip install -r "
            "requirements.txt' and look at 'nalign doctor'."
        ) from error

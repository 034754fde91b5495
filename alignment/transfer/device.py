"""Which device to run on."""

from __future__ import annotations

import torch

from neural_alignment import InputError

__all__ = ["is_out_of_memory", "resolve_device"]


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Return the torch device for a name.

    Parameters
    ----------
    device : str or torch.device, optional
        ``auto`` (CUDA where there is one, else the CPU), or a name that torch knows.

    Returns
    -------
    torch.device

    Raises
    ------
    InputError
        Not a device, or one that this machine does not have.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(
            f"The device {device!r} cannot be used: {str(error).splitlines()[0]}. Take 'auto' or 'cpu'."
        ) from error
    return chosen


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether an error of torch means that the device's memory is too small."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)

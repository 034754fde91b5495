"""The zoo as a table: every network by its name, what it is built from, how large it is, and how it may differ."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from alignment.models._builders import build_network
from alignment.models._registry import Entry, entry, list_models

__all__ = ["Row", "count_parameters", "describe_models", "markdown_table"]

_OWN = "alignment.models.networks."


@dataclass(frozen=True)
class Row:
    """One network of the zoo.

    Attributes
    ----------
    name : str
        What :func:`~alignment.models.create_model` takes.
    source : str
        ``timm:NAME``, ``torchvision:NAME``, or ``ours:FUNCTION`` for a definition of this project.
    parameters : int
        At full width with 1,000 outputs and images of 224 px, or the nearest size it takes.
    sizes : str
        Image sides that it takes, in pixels.
    note : str
        How it differs from the papers' network, or what they leave open; empty where it is the same.
    small_form : str
        What is changed for small images, if anything.
    """

    name: str
    source: str
    parameters: int
    sizes: str
    note: str
    small_form: str


def describe_models(names: Iterable[str] | None = None) -> list[Row]:
    """Describe networks of the zoo, all by default.

    Examples
    --------
    >>> row = describe_models(["vgg11"])[0]
    >>> row.source, row.parameters
    ('timm:vgg11', 132863336)
    """
    return [_row(entry(name)) for name in (list_models() if names is None else names)]


def count_parameters(name: str) -> int:
    """Count a network's parameters at full width, without making them.

    Examples
    --------
    >>> count_parameters("resnet18")
    11689512
    """
    record = entry(name)
    size = max(224, record.minimum_size)
    # On the meta device tensors have shapes and no numbers.
    with torch.device("meta"):
        net = build_network(record, 1000, size - size % record.size_multiple, 1.0, "")
    return sum(parameter.numel() for parameter in net.parameters())


def markdown_table(names: Iterable[str] | None = None) -> str:
    """Write networks as a table in Markdown, as ``docs/models.md`` holds it.

    Examples
    --------
    >>> print(markdown_table(["vgg11"]).splitlines()[2])
    | `vgg11` | timm `vgg11` | 132.9 | ≥ 32; another form below 64 | the same |
    """
    lines = ["| name | built from | parameters, million | image side, px | beside the papers' network |"]
    lines.append("|---|---|---|---|---|")
    for row in describe_models(names):
        library, _, target = row.source.partition(":")
        note = row.note or "the same"
        lines.append(f"| `{row.name}` | {library} `{target}` | {row.parameters / 1e6:.1f} | {row.sizes} | {note} |")
    return "\n".join(lines) + "\n"


def _row(record: Entry) -> Row:
    source = record.source
    if source.startswith(_OWN):
        source = "ours:" + source.rpartition(":")[2]
    sizes = f"≥ {record.minimum_size}"
    if record.size_multiple > 1:
        sizes += f", a multiple of {record.size_multiple}"
    if record.small_size:
        sizes += f"; another form below {record.small_size}"
    return Row(record.name, source, count_parameters(record.name), sizes, record.stand_in, record.small_form)

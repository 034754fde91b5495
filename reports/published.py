"""What the published work reports, to print beside a study's own numbers; nothing is tuned to it."""

from __future__ import annotations

from typing import Final

import pandas as pd

from alignment.transfer import published_transfers

from .data import ReportData
from .views import group_scores, transfer_summary

__all__ = [
    "ALIGNMENT",
    "ALLEN_CITATIONS",
    "CITATIONS",
    "TRANSFER",
    "alignment_beside_published",
    "transfer_beside_published",
]

_NAMES = {"mnist": "MNIST", "mnist_m": "MNIST-M", "svhn": "SVHN", "usps": "USPS"}
_MODELS = {"vgg19": "VGG19", "spos_shufflenet": "SPOS ShuffleNet"}


def _transfer() -> pd.DataFrame:
    table = published_transfers().replace({"source": _NAMES, "target": _NAMES, "model": _MODELS})
    percent = {name: (100 * table[name]).round(1) for name in ("baseline", "neurn")}
    return table.assign(**percent)[["source", "target", "model", "baseline", "neurn", "reference"]]


TRANSFER: Final = _transfer()
"""Published accuracies in percent, from :func:`alignment.transfer.published_transfers`."""

ALIGNMENT: Final = pd.DataFrame(
    [
        ("genotype", "Vip", 0.133, 0.122),
        ("genotype", "Sst", 0.129, 0.118),
        ("genotype", "Pvalb", 0.124, 0.112),
        ("area", "VISpm", 0.129, 0.122),
        ("area", "VISl", 0.125, 0.115),
        ("area", "VISp", 0.116, 0.108),
        ("area", "VISrl", 0.110, 0.106),
        ("area", "VISam", 0.109, 0.104),
        ("area", "VISal", 0.105, 0.100),
        ("genotype", "Nr5a1-2", 0.118, 0.113),
        ("genotype", "Ntsr1", 0.108, 0.107),
        ("genotype", "Tlx3", 0.114, 0.111),
        ("genotype", "Emx1-1", 0.102, 0.098),
        ("genotype", "Rbp4-1", 0.100, 0.098),
        ("genotype", "Fezf2", 0.113, 0.114),
    ],
    columns=["group_by", "group", "baseline", "neurn"],
)
"""Mean RMSE over 13 models read off a published scatter (±0.001)."""

CITATIONS: Final = (
    (
        "Jalil H, Qazi A, Iqbal A. NeuRN: Neuro-inspired Domain Generalization for Image Classification. 2025.",
        "arXiv:2505.06881",
        "https://arxiv.org/abs/2505.06881",
        "NeuRN, the architecture similarity and the transfer protocol",
    ),
    (
        "Qazi A, Jalil H, Iqbal A. Mice to Machines: Neural Representations from Visual Cortex for Domain "
        "Generalization. 2025.",
        "arXiv:2505.06886",
        "https://arxiv.org/abs/2505.06886",
        "the representations, RMSE and density overlap between neurons and units",
    ),
    (
        "Zhao S, Du C, Li H, He H. NeuralOOD: Improving Out-of-Distribution Generalization Performance with "
        "Brain-machine Fusion Learning Framework. 2024.",
        "arXiv:2408.14950",
        "https://arxiv.org/abs/2408.14950",
        "brain–machine fusion",
    ),
    (
        "de Vries SEJ, Lecoq JA, Buice MA, et al. A large-scale standardized physiological survey reveals "
        "functional organization of the mouse visual cortex. Nature Neuroscience 23, 138–151. 2020.",
        "doi:10.1038/s41593-019-0550-9",
        "https://doi.org/10.1038/s41593-019-0550-9",
        "the recordings, the stimuli and the layout of the data",
    ),
    (
        "Allen Institute MindScope Program (2016). Allen Brain Observatory – 2-photon Visual Coding [dataset].",
        "observatory.brain-map.org/visualcoding",
        "https://observatory.brain-map.org/visualcoding",
        "the data set itself, under the Allen Institute's terms of use",
    ),
)
"""What a report cites: reference, short name of the address, address, and what it stands for here."""

ALLEN_CITATIONS: Final = CITATIONS[-2:]
"""Those of them that stand for recordings; not for a study that has none."""


def transfer_beside_published(data: ReportData) -> pd.DataFrame:
    """Return the published accuracies with this study's of the same source and target beside them.

    Parameters
    ----------
    data : ReportData
        Uses ``transfer``.

    Returns
    -------
    pandas.DataFrame
        The published columns (percent), and ours, ours_baseline, ours_neurn (plainly trained; mean over seeds,
        percent), one row a model of this study; rows without a counterpart keep NaN.
    """
    summary = transfer_summary(data)
    summary = summary[summary["method"] == "plain"]
    if len(summary):
        summary = summary.assign(
            source=summary["source"].replace(_NAMES),
            target=summary["target"].replace(_NAMES),
            mean=100 * summary["mean"],
        )
    wide = summary.pivot_table(index=["source", "target", "model"], columns="layer_variant", values="mean", sort=False)
    ours = pd.DataFrame(
        {
            "ours_baseline": wide.get("baseline", pd.Series(dtype=float)),
            "ours_neurn": wide.get("neurn", pd.Series(dtype=float)),
        }
    )
    ours.index = ours.index if len(ours) else pd.MultiIndex.from_arrays([[], [], []])
    ours = ours.rename_axis(["source", "target", "ours"]).reset_index()
    return TRANSFER.merge(ours, on=["source", "target"], how="left")


def alignment_beside_published(data: ReportData, metric: str = "rmse_mean") -> pd.DataFrame:
    """Return the published RMSE of each group with this study's beside it.

    Parameters
    ----------
    data : ReportData
        Uses ``similarity``.
    metric : str
        Which metric of it.

    Returns
    -------
    pandas.DataFrame
        The published columns, and ours_baseline, ours_neurn, n_cells; NaN where this study has no such group.
    """
    parts = []
    for group_by, rows in ALIGNMENT.groupby("group_by", sort=False):
        ours = group_scores(data, str(group_by), metric).rename(
            columns={"baseline": "ours_baseline", "variant": "ours_neurn"}
        )
        # The papers write a Cre line's only genotype without its number: Vip is our Vip-1.
        ours = ours.rename(index={f"{name}-1": name for name in rows["group"]})
        parts.append(rows.join(ours.reindex(columns=["ours_baseline", "ours_neurn", "n_cells"]), on="group"))
    return pd.concat(parts, ignore_index=True)

"""Every figure of a report in one place, for scripts and notebooks.

Each function takes a :class:`reports.ReportData` (``compare_figure`` a table, ``architecture_map`` and
``architecture_pair`` a similarity and an alignment) and returns a
:class:`reports.style.Drawing`, whose ``figure`` is a plain matplotlib figure; ``to_svg`` and ``to_png``
render it.
"""

from __future__ import annotations

from .architecture_figures import architecture_heatmap, architecture_map, architecture_pair
from .figures_compare import compare_figure
from .figures_conditions import condition_differences_figure, condition_ranks
from .figures_errors import class_recall, confusion_matrices, reliability_diagram
from .figures_examples import density_pairs, domain_images, example_maps
from .figures_features import feature_distances_figure
from .figures_groups import neurn_scatter, rmse_violins
from .figures_layers import layer_profile
from .figures_link import alignment_and_transfer, gain_against_gain
from .figures_quality import embedding_and_kept, marginal_quantiles, peak_against_time, reliability_by_area
from .figures_transfer import transfer_accuracy
from .style import Drawing, to_png, to_svg

__all__ = [
    "Drawing",
    "alignment_and_transfer",
    "architecture_heatmap",
    "architecture_map",
    "architecture_pair",
    "class_recall",
    "compare_figure",
    "condition_differences_figure",
    "condition_ranks",
    "confusion_matrices",
    "density_pairs",
    "domain_images",
    "embedding_and_kept",
    "example_maps",
    "feature_distances_figure",
    "gain_against_gain",
    "layer_profile",
    "marginal_quantiles",
    "neurn_scatter",
    "peak_against_time",
    "reliability_by_area",
    "reliability_diagram",
    "rmse_violins",
    "to_png",
    "to_svg",
    "transfer_accuracy",
]

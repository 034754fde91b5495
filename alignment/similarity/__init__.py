"""The comparison of neurons and units: RMSE, KDE-IoU, representational similarity, ceilings, inference.

Arrays in, numbers and tables out. Which vectors are compared (weighted, matched or tuning representations) is
decided where they are made; neurons and units need the same kind, scaled alike.
"""

from .ceiling import NoiseCeiling, noise_ceiling, normalise, spearman_brown, split_halves
from .ceiling_groups import CEILING_KINDS, GroupCeilings, group_ceilings
from .claims import CANNOT_TELL, exception_contrasts, published_claims
from .compare import LOWER_IS_CLOSER, GroupComparison, compare_groups, scene_halves
from .groups import CELL_METRICS, METRICS, GroupScores, score_groups, score_layers
from .inference import Interval, PairedTest, benjamini_hochberg, bootstrap, paired_permutation
from .kde_iou import Densities, kde_densities, kde_iou
from .null import NullTest, null_test, shuffled_scenes
from .paired import paired_differences
from .rdm_scores import MEAN_GROUP, RdmScores, rdm_differences, score_rdms
from .rmse import NearestUnits, nearest_units, rmse
from .rsa import CkaTest, RdmTest, cka_permutation_test, compare_rdms, linear_cka, rdm, rdm_permutation_test
from .scene_null import null_scores, scene_null_table

__all__ = [
    "CANNOT_TELL",
    "CEILING_KINDS",
    "CELL_METRICS",
    "LOWER_IS_CLOSER",
    "MEAN_GROUP",
    "METRICS",
    "CkaTest",
    "Densities",
    "GroupCeilings",
    "GroupComparison",
    "GroupScores",
    "Interval",
    "NearestUnits",
    "NoiseCeiling",
    "NullTest",
    "PairedTest",
    "RdmScores",
    "RdmTest",
    "benjamini_hochberg",
    "bootstrap",
    "cka_permutation_test",
    "compare_groups",
    "compare_rdms",
    "exception_contrasts",
    "group_ceilings",
    "kde_densities",
    "kde_iou",
    "linear_cka",
    "nearest_units",
    "noise_ceiling",
    "normalise",
    "null_scores",
    "null_test",
    "paired_differences",
    "paired_permutation",
    "published_claims",
    "rdm",
    "rdm_differences",
    "rdm_permutation_test",
    "rmse",
    "scene_halves",
    "scene_null_table",
    "score_groups",
    "score_layers",
    "score_rdms",
    "shuffled_scenes",
    "spearman_brown",
    "split_halves",
]

"""Reports: figures, tables, one standalone HTML page and the same as PDF.

>>> from reports import ReportData, write_report
>>> data = ReportData(name="demo", title="A demo", sentence="One.", simulated=True, study_yaml="", command="")
>>> data.has("similarity")
False
"""

from neural_alignment import check_siblings

check_siblings("alignment")

from .data import DensityPair, DomainImages, Examples, MapExample, ReportData  # noqa: E402
from .fusion_data import AttentionMaps  # noqa: E402
from .printing import pdf_obstacle  # noqa: E402
from .report import ReportFiles, write_report  # noqa: E402

__all__ = [
    "AttentionMaps",
    "DensityPair",
    "DomainImages",
    "Examples",
    "MapExample",
    "ReportData",
    "ReportFiles",
    "pdf_obstacle",
    "write_report",
]

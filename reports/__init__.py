"""Reports: figures, tables, one standalone HTML page and the same as PDF.

>>> from reports import ReportData, write_report
>>> data = ReportData(name="demo", title="A demo", sentence="One.", simulated=True, study_yaml="", command="")
>>> data.has("similarity")
False
"""

from .data import DensityPair, DomainImages, Examples, MapExample, ReportData
from .fusion_data import AttentionMaps
from .printing import pdf_obstacle
from .report import ReportFiles, write_report

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

"""A rendered page as PDF, and why there is none where Pango is missing."""

from __future__ import annotations

import platform

__all__ = ["pango_remedy", "pdf_obstacle", "render_pdf"]


def pango_remedy() -> str:
    """Say how Pango is installed on this system."""
    return {
        "Linux": "Install Pango and a font: apt install libpango-1.0-0 libpangoft2-1.0-0 fonts-dejavu-core "
        "(Fedora: dnf install pango dejavu-sans-fonts; conda: conda install pango).",
        "Darwin": "Install Pango: brew install pango (or conda install pango).",
        "Windows": "Install Pango with MSYS2 (pacman -S mingw-w64-x86_64-pango) and set "
        "WEASYPRINT_DLL_DIRECTORIES to its bin folder, or conda install pango.",
    }.get(platform.system(), "Install Pango and a font package.")


def pdf_obstacle() -> str:
    """Say why no PDF can be made here and what to install; empty where one can."""
    try:
        import weasyprint  # noqa: F401
    except ImportError as error:
        return f"WeasyPrint does not import ({error}). Install the pinned packages: pip install -r requirements.txt."
    except OSError as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        return f"WeasyPrint cannot load the Pango libraries ({reason}). {pango_remedy()}"
    return ""


def render_pdf(page: str) -> bytes:
    """Lay out a rendered page as PDF (A4).

    Parameters
    ----------
    page : str
        What :func:`reports.report.render_html` returned.

    Returns
    -------
    bytes
        The PDF.

    Raises
    ------
    OSError
        Pango, which does the typesetting, is not installed; :func:`pdf_obstacle` asks beforehand.
    """
    # Slow to import, and it needs libraries of the system: only those who print pay for it.
    from weasyprint import HTML
    from weasyprint.urls import URLFetcher

    fetcher = URLFetcher(allowed_protocols=("data",), fail_on_errors=True)
    document: bytes = HTML(string=page, url_fetcher=fetcher).write_pdf()
    return document

"""What a table says of a group that is empty, small, or of one donor: one wording for all tables."""

from __future__ import annotations

__all__ = ["NO_CELLS", "NO_DONORS", "remarks"]

NO_CELLS = "no cells in this group"
NO_DONORS = "no donors named: cells count as independent"


def remarks(n_cells: int, n_used: int, n_donors: int, missing: str) -> tuple[str, str]:
    """Return why a group's value or interval is missing, and what else a reader must know of it.

    Parameters
    ----------
    n_cells, n_used, n_donors : int
        Cells of the group, those that have scores, and the donors of these.
    missing : str
        Why a cell may have no score, such as ``"a score of theirs is missing"``.

    Returns
    -------
    reason, note : str
        The reason is empty where nothing is missing; the note names cells left out, and says so where one
        donor (or none named) leaves its cells alone to resample.
    """
    if n_cells == 0:
        return NO_CELLS, ""
    left_out = f"{n_cells - n_used} of {n_cells} cells left out: {missing}" if n_used < n_cells else ""
    if n_used == 0:
        return left_out, ""
    if n_used == 1:
        return "one cell: no interval", left_out
    alone = "one donor, or none named: only cells are resampled" if n_donors == 1 else ""
    return "", "; ".join(filter(None, (left_out, alone)))

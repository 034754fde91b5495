"""A store of results by content: what was computed once, by whatever run, is found again by its key."""

from __future__ import annotations

from cache.entry import Entry, LostResultError, Problem, Verification
from cache.keys import canonical_json, digest_array, digest_file, digest_folder, make_key
from cache.store import Store

__all__ = [
    "Entry",
    "LostResultError",
    "Problem",
    "Store",
    "Verification",
    "canonical_json",
    "digest_array",
    "digest_file",
    "digest_folder",
    "make_key",
]

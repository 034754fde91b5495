"""What pyproject.toml cannot say: the long description is README.md without what only works in the repository.

A package index has neither the pictures nor the other documents, so pictures are left out and links between files
become the name of the file, which the source distribution holds.
"""

import re
from pathlib import Path

from setuptools import setup

PICTURE = re.compile(r"^!\[[^\]]*\]\((?!https?:)[^)]*\)\n+(?:\*[^*]+\*\n+)?", re.MULTILINE)  # with its caption
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)#]+)[^)]*\)")


def readme() -> str:
    """Return README.md as it can be read anywhere."""
    text = PICTURE.sub("", Path(__file__).with_name("README.md").read_text(encoding="utf-8"))
    return LINK.sub(lambda link: f"`{link[2]}`", text)


setup(long_description=readme(), long_description_content_type="text/markdown")

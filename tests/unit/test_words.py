# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the words that users and maintainers read: words to avoid, and what to write instead."""

from __future__ import annotations

import re

import pytest

from tests.support import TREE

AVOIDED = {
    r"tells?\b(?! \w+ from)|\btold": "logs, reports, shows, distinguishes",
    r"\w*(witness|patience)\w*": "the name of the thing: nonce file, time",
    r"anew": "again",
    r"mend(s|ed)?": "fix, correct, repair",
    r"besides": "also, as well",
    r"for want of": "without",
    r"without a word": "silently",
    r"(is|are) to be": "must, should",
    r"so long the": "for as long as",
}
PATTERNS = ["*.md", "*.py", "NEWS", "Makefile", "man/*.xml", "etc/*", "rpm/*", "debian/*", ".ci/*", "docs/**/*.*"]
PATTERNS += ["ctdb_etcd/**/*.py", "tests/**/*.py"]
FILES = sorted({str(path.relative_to(TREE)) for pattern in PATTERNS for path in TREE.glob(pattern) if path.is_file()})
FILES.remove("tests/unit/test_words.py")


@pytest.mark.parametrize("file", FILES)
def test_file_does_not_contain_avoided_words(file):
    for number, line in enumerate((TREE / file).read_text().splitlines(), 1):
        for words, better in AVOIDED.items():
            found = re.search(rf"\b({words})\b", line, re.IGNORECASE)
            assert not found, f"{file}:{number}: {found and found[0]!r}: write {better}"

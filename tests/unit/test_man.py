# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""Tests of the man page: it is well-formed for each of its readers, and agrees with the program."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from tests.support import TREE

from ctdb_etcd import __version__
from ctdb_etcd.config import keys, parse as config

SOURCE = TREE / "man" / "ctdb-etcd.7.xml"
PAGE = ElementTree.parse(SOURCE).getroot()
KEYS = {entry.get("id", "")[4:]: entry for entry in PAGE.iter("varlistentry") if entry.get("id", "").startswith("key-")}


def text(element):
    return " ".join("".join(element.itertext()).split())


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=TREE)
    return done.returncode, done.stdout


def needs(*tools):
    missing = [tool for tool in tools if not shutil.which(tool)]
    return pytest.mark.skipif(bool(missing), reason=f"no {', '.join(missing)} here")


def needs_entry_of_catalog(name):
    known = shutil.which("xmlcatalog") and run("xmlcatalog", "/etc/xml/catalog", name)[0] == 0
    return pytest.mark.skipif(not known, reason=f"{name} is not installed")


needs_stylesheet = needs_entry_of_catalog("http://docbook.sourceforge.net/release/xsl/current/manpages/docbook.xsl")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("page")
    shutil.copytree(TREE / "man", tmp_path / "man", ignore=shutil.ignore_patterns("*.7"))
    shutil.copy(TREE / "Makefile", tmp_path)
    status, output = run("make", "-C", str(tmp_path), "man")
    assert status == 0, output
    return tmp_path / "man" / "ctdb-etcd.7"


@pytest.mark.parametrize("key", sorted({*keys.SPEC, *KEYS}))
def test_man_page_has_every_key_with_its_range_and_default(key):
    assert key in keys.SPEC, "the program does not know this key"
    assert key in KEYS, "the man page does not have this key"
    entry = KEYS[key]
    assert text(entry.find("term")) == key
    value = entry.find("listitem/para")
    assert text(value.find("*[@role='allowed']")) == keys.SPEC[key][2]
    default = value.find("*[@role='default']")
    if default.tag == "literal":
        documented = config.parse("man", f"{key} = {text(default)}\n".encode())
        assert vars(documented) == vars(config.parse("man", b""))
        assert keys.SPEC[key][1] is not None
    else:
        # The default is described in words, because no value in the file stands for it.
        assert keys.SPEC[key][1] is None


def test_man_page_has_every_option_of_the_program():
    _, usage = run(sys.executable, "-I", "ctdb_etcd_lock.py", "--help")
    options = set(re.findall(r"(?<![\w-])--?[a-z]+", usage.partition("option")[2].partition("Prints")[0])) - {"-vvv"}
    assert options >= {"-c", "-v", "--version"}
    assert options <= {text(option) for option in PAGE.iter("option")}


def test_every_message_in_the_man_page_is_one_of_the_program():
    program = "".join(path.read_text() for path in (TREE / "ctdb_etcd").rglob("*.py"))
    program += (TREE / "ctdb_etcd_lock.py").read_text()
    # Join the parts of a string (or f-string) that continues on the next line.
    program = re.sub(r'"\s*f?"', "", program)
    messages = [text(term) for term in PAGE.iter("term") if term.get("role") == "message"]
    assert len(messages) > 5
    for message in messages:
        for part in re.split(r"\.\.\.:?", message):
            assert part.strip() in program, message


def test_man_page_has_the_version_of_the_program():
    assert text(PAGE.find("refmeta/refmiscinfo[@class='version']")) == __version__


@needs("xmllint")
@needs_entry_of_catalog("-//OASIS//DTD DocBook XML V4.5//EN")
def test_man_page_is_valid_docbook():
    assert run("xmllint", "--nonet", "--noout", "--valid", str(SOURCE)) == (0, "")


@needs("xsltproc", "man")
@needs_stylesheet
def test_man_reports_no_warning(page):
    command = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # How a line is broken is a matter of style, in which releases of groff differ.
    faults = [line for line in done.stderr.splitlines() if "cannot adjust line" not in line]
    assert (done.returncode, faults) == (0, [])
    # groff 1.22 defines this macro, for the headings of notes and cautions. Later releases warn about it.
    assert "an-trap" not in page.read_text(encoding="utf-8")


@needs("xsltproc", "mandoc")
@needs_stylesheet
def test_mandoc_reports_no_error(page):
    assert run("mandoc", "-T", "lint", "-W", "error", str(page)) == (0, "")


@needs("xsltproc")
@needs_stylesheet
def test_man_page_build_is_reproducible(page):
    first = page.read_bytes()
    page.unlink()
    assert run("make", "-C", str(page.parents[1]), "man")[0] == 0
    assert page.read_bytes() == first


def test_man_page_readme_and_tools_name_the_same_tested_releases():
    (section,) = (part for part in PAGE.iter("refsect1") if part.findtext("title") == "TESTED RELEASES")
    rows = [" | ".join(text(entry) for entry in row) for row in section.iter("row")]
    readme = (TREE / "README.md").read_text().partition("\n## Tested with\n")[2].partition("\n## ")[0]
    assert rows == re.findall(r"^\| (.* \| .*) \|$", readme, re.M)
    listed = re.findall(r"^[0-9.]+", (TREE / "tests/releases/etcd-versions").read_text(), re.M)
    for place in (readme, text(section)):
        (named,) = re.findall(r"And etcd ([0-9., and]+), with", place)
        assert re.findall(r"[0-9.]+[0-9]", named) == listed

"""The table of faults says the truth: every number has a test, or the part that will bring it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTS = HERE.parent
FAULTS = range(1, 55)
ROW = re.compile(r"^\| (\d+) \| [^|]+ \| ([^|]*) \|$", re.M)
NUMBERED = re.compile(r"test_fault_(\d\d(?:_and_\d\d)*)_[a-z0-9]")


def every_test():
    """Return every test function below ``tests/`` with the file it stands in."""
    return {
        node.name: path
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


KNOWN = every_test()
TABLE = {int(number): said for number, said in ROW.findall((HERE / "README.md").read_text())}


def numbers_of(name):
    found = NUMBERED.match(name)
    return {int(number) for number in found[1].split("_and_")} if found else set()


PROVED = {number for name in KNOWN for number in numbers_of(name)}


def test_the_table_has_every_fault_once():
    assert list(TABLE) == list(FAULTS)


def test_a_test_with_a_number_has_a_fault():
    misnamed = [name for name in KNOWN if name.startswith("test_fault_") and not numbers_of(name)]

    assert misnamed == []
    assert set(FAULTS) >= PROVED


@pytest.mark.parametrize("number", FAULTS)
def test_every_fault_has_a_test_or_a_part(number):
    said = TABLE[number]
    names = re.findall(r"`(test_\w+)`", said)
    files = re.findall(r"`(test_\w+\.py)`", said)

    assert [name for name in names if name not in KNOWN] == []
    if number in PROVED or names:
        return
    if "part " in said:
        assert re.search(r"\bpart [3-9]", said), "a later part"
        return
    raise AssertionError(f"fault {number}: neither a test, nor a part, nor one in {files}")

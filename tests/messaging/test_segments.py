import json
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messaging.segments import BASIC, EXTENSION, LIMITS, count, to_gsm

ROOT = Path(__file__).parent.parent.parent
VECTORS = json.loads((ROOT / "tests" / "fixtures" / "segments.json").read_text())
CURLY = "\u201cHi\u201d \u2018it\u2019s\u2019 a\u2013b\u2014c\u2026 d\u00a0e\u200b"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["text"][:8] or "empty")
def test_a_text_is_counted_as_the_carrier_bills_it(vector):
    counted = count(vector["text"])

    assert asdict(counted) | {"text": vector["text"]} == vector


def test_gsm_equivalents_make_a_text_gsm():
    plain = to_gsm(CURLY)

    assert plain == "\"Hi\" 'it's' a-b-c... d e"
    assert count(plain).encoding == "GSM-7"


def test_gsm_equivalents_leave_other_letters_alone():
    assert to_gsm("\u00e7a va \U0001f600") == "\u00e7a va \U0001f600"


@given(st.text(st.sampled_from("a{\u20ac\U0001f600\u201c\n"), max_size=700))
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_segments_are_never_fewer_than_units_allow(text):
    counted = count(text)
    single, part = LIMITS[counted.encoding]

    assert (counted.segments <= 1) is (counted.units <= single)
    assert counted.segments * (single if counted.segments <= 1 else part) >= counted.units
    assert (counted.first_offender == "") is all(c in BASIC or c in EXTENSION for c in text)


def test_the_browser_counts_alike():
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed; the browser tests count the same vectors")
    script = f"""
        globalThis.window = globalThis;
        require({json.dumps(str(ROOT / "static" / "js" / "segments.js"))});
        const texts = JSON.parse(require("fs").readFileSync(0, "utf8"));
        const counted = texts.map((text) => window.fairleadSegments.count(text));
        const plain = window.fairleadSegments.toGsm(texts[texts.length - 1]);
        console.log(JSON.stringify({{counted, plain}}));
    """
    texts = [vector["text"] for vector in VECTORS] + [CURLY]

    ran = subprocess.run(
        [node, "-e", script], input=json.dumps(texts), capture_output=True, text=True, check=True
    )

    answer = json.loads(ran.stdout)
    assert answer["counted"] == [asdict(count(text)) for text in texts]
    assert answer["plain"] == to_gsm(CURLY)

"""The documented reason codes are those of the program."""

import re

from support import ROOT

from pipeline.errors import Reason
from pipeline.inbox.scanner import IGNORED
from pipeline.jobs.retry_policy import BLAME, TRIES

DOCS = ROOT / "docs"


def test_every_reason_code_is_documented_once_and_none_that_is_not_there():
    rows = re.findall(r"^\| `(\w+)` \|", (DOCS / "reasons.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(reason.value for reason in Reason)


def test_the_documented_number_of_tries_is_the_real_one():
    text = (DOCS / "reasons.md").read_text()
    words = {2: "twice", 3: "3 times", 5: "5 times"}
    for code in ("out_of_memory", "worker_crashed", "stalled", "io_error", "output_invalid"):
        (row,) = re.findall(rf"^\| `{code}` .*$", text, re.MULTILINE)
        assert row.endswith(f"| {words[TRIES[Reason(code)]]} |")


def test_the_documented_list_of_ignored_names_is_the_real_one():
    text = (DOCS / "reliability.md").read_text()
    assert all(f"`{pattern}`" in text for pattern in IGNORED)


def test_every_reason_code_says_what_is_to_blame():
    assert set(BLAME) == set(Reason)

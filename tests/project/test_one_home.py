"""What several packages need has one home: text, timestamps, full disks, media types, rates."""

import re

import pytest
from support import ROOT

PACKAGE = ROOT / "pipeline"

# What the code of one subject cannot do without, and the modules that may hold it.
HOMES = {
    "text that UTF-8 takes": (r"backslashreplace", {"system/text", "system/stdout"}),
    "UTC timestamps": (r"timespec=.milliseconds", {"system/text"}),
    "a full disk": (r"errno\.(ENOSPC|EDQUOT)", {"system/safe_files", "outbox/run_log"}),
    "disks without hard links": (r"errno\.EMLINK", {"system/safe_files"}),
    "copies to another disk": (
        r"copyfileobj|\.part\b.*hexdigest|hexdigest.*\.part\b",
        {"system/copying"},
    ),
    "media types of pictures": (r"\"(image|video)/", {"config/file_kinds"}),
    "pairs an hour": (r"\* 3600\b|\b3600 \*", {"monitoring/estimate", "daemon/run_statistics"}),
    "the name Limits": (r"^(class )?Limits\b", {"config/sections"}),
}


@pytest.mark.parametrize("subject", HOMES)
def test_each_subject_has_one_home(subject):
    pattern, homes = HOMES[subject]
    found = {
        str(path.relative_to(PACKAGE).with_suffix(""))
        for path in PACKAGE.rglob("*.py")
        if re.search(pattern, path.read_text(), re.MULTILINE)
    }
    assert found == homes

"""A job killed at any step of its way: nothing lost, nothing doubled, nothing half-written."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support import ROOT, SUPPORT, TESTS

pytestmark = pytest.mark.slow

PROGRAM = SUPPORT / "crash_points.py"
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(ROOT)])}
MEMORY = Path("/dev/shm")  # where syncing costs nothing; killing a process loses no page either way


SCENARIOS = ["new", "again", "far", "far again", "back", "draft", "prune", "far prune"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_kill_at_any_step_leaves_exactly_one_complete_set_of_pictures(scenario):
    folder = tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None)
    try:
        command = [sys.executable, PROGRAM, folder, scenario]
        answer = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
        assert answer.returncode == 0, answer.stderr
        report = json.loads(answer.stdout)
        print(f"{scenario}: killed at {report['kills']} of {report['points']} steps")
        assert report["failures"] == []
        assert report["points"] > 100
    finally:
        shutil.rmtree(folder)

"""Hooks get each result as data, and cannot stop the service."""

import json
from pathlib import Path

import pytest
from support.studio import CONFIG


def test_hooks_get_the_result_as_data_and_no_shell_reads_the_name(make_studio, tmp_path):
    said = tmp_path / "said"
    words = "sys.stdin.read() + os.environ['PIPELINE_CONTENT'] + '\\n'"
    program = f"import sys, os; open(sys.argv[1], 'a').write({words})"
    hook = json.dumps(["python3", "-c", program, str(said)])
    studio = make_studio(CONFIG + f"hooks: {{on_done: {hook}, on_failed: {hook}}}\n")
    studio.put("$(touch pwned); `id`.png")
    bad = studio.put("bad.png")
    bad.write_text("no picture")
    for _ in range(2000):
        studio.until_idle()
        if said.exists() and said.read_text().count("\n") == 2:
            break
    lines = sorted(said.read_text().splitlines())
    assert any('"status": "done"' in line and line.endswith("`id`.png") for line in lines)
    assert any('"code": "unsupported_format"' in line for line in lines)
    assert not Path("pwned").exists()


@pytest.mark.parametrize(
    ("hook", "seconds", "words"),
    [
        (["no-such-program-anywhere"], 5, "cannot be started"),
        (["false"], 5, "ended with 1"),
        (["sleep", "1000"], 1, "took longer than 1 s"),  # real ones
    ],
)
def test_the_loop_survives_a_hook_that(make_studio, hook, seconds, words):
    hooks = f"hooks: {{on_done: {json.dumps(hook)}, timeout_seconds: {seconds}}}\n"
    studio = make_studio(CONFIG + hooks)
    studio.put("a.png")
    for _ in range(2000):
        studio.tick(0.05)
        while studio.executor.jobs:
            studio.executor.end()
        if words in studio.service.hooks.trouble:
            break
    assert words in studio.view.message
    studio.good_one_survives()

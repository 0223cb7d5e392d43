"""What others may look at names files, and no folder of the machine."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.stock import books, make_job

from pipeline.errors import Failure, Reason
from pipeline.inbox.scanner import Refused
from pipeline.jobs.job import JobResult
from pipeline.ledger.ledger import Ledger
from pipeline.monitoring.live import live_document
from pipeline.monitoring.view import View
from pipeline.outbox.publisher import Outbox
from pipeline.system.redaction import Redactor, strip_folders

PART = st.text(st.characters(codec="utf-8", exclude_characters="/\0\n"), min_size=1, max_size=9)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("/home/ada/in/a b.jpg: cannot be read", "a b.jpg: cannot be read"),
        ("not '/home/ada/x.jpg' (valid: content)", "not 'x.jpg' (valid: content)"),
        ("/x.jpg: is gone", "x.jpg: is gone"),
        (
            "sub/a.jpg and https://example.org/a/b, 1/2",
            "sub/a.jpg and https://example.org/a/b, 1/2",
        ),
        ("nothing of the kind / at all", "nothing of the kind / at all"),
    ],
)
def test_messages_keep_names_and_lose_folders(text, plain):
    assert Redactor().redact_text(text) == plain


def test_a_folder_whose_own_name_holds_spaces_is_known_by_its_path():
    inbox = Path("/home/ada/My Photos: (new)/inbox")
    discreet = Redactor([inbox])
    assert discreet.redact_text(f"{inbox}/sub/a.jpg: is gone") == "sub/a.jpg: is gone"
    assert discreet.redact_text(f"{inbox} is gone") == "inbox is gone"


@given(st.lists(PART, min_size=1, max_size=5), PART)
def test_whatever_folders_are_called_a_root_is_in_no_message(folders, name):
    root = Path("/secret-root", *folders)
    said = Redactor([root]).redact_text(f"{root / name}: is damaged (see {root / name})")
    assert "secret-root" not in said


def test_options_keep_names_and_tell_two_of_one_name_apart():
    options = {
        "images": {"/a/sea.jpg": 0.5, "/b/sea.jpg": 0.25, "builtin:mosaic": 0.25},
        "transfer": {"init": "/a/start.png", "sizes": [1, "/a/b/c"]},
    }
    assert strip_folders(options) == {
        "images": {"a/sea.jpg": 0.5, "b/sea.jpg": 0.25, "builtin:mosaic": 0.25},
        "transfer": {"init": "start.png", "sizes": [1, "c"]},
    }


@given(
    st.dictionaries(
        st.builds(lambda parts: "/" + "/".join(parts), st.lists(PART, min_size=1, max_size=4))
        | st.sampled_from(["a/b", "b", "builtin:mosaic", "/a/b", "/x/a/b", "/" + "d/" * 99 + "b"]),
        st.integers(),
    )
)
def test_no_entry_is_lost_because_two_files_have_the_same_name(shares):
    found = strip_folders(shares)
    assert sorted(found.values()) == sorted(shares.values())
    assert not any(name.startswith("/") and name.strip("/") for name in found)


def test_files_get_as_many_folders_as_tell_them_apart():
    shares = {"/me/2023/art/sea.jpg": 1, "/me/2024/art/sea.jpg": 2, "/me/art/sky.jpg": 3}
    assert strip_folders(shares) == {"2023/art/sea.jpg": 1, "2024/art/sea.jpg": 2, "sky.jpg": 3}


def test_data_too_deep_to_be_ours_stop_nothing():
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    assert strip_folders({"options": deep})["options"] is not None


def test_every_line_of_the_run_log_is_without_folders(tmp_path):
    """Of a refused file, of a failed pair and of a picture that could not be published."""
    outbox = Outbox(tmp_path / "out box")
    outbox.prepare()
    inbox = tmp_path / "in box"
    lines = []
    with Ledger(tmp_path / "state" / "jobs.sqlite3") as ledger:
        accounts = books(ledger, outbox, roots=[inbox])
        accounts._on_line = lines.append
        failure = Failure(Reason.UNREADABLE, f"{inbox}/a.jpg: permission denied")
        accounts.refuse(Refused("a.jpg", inbox / "a.jpg", failure, "failed", "1"), 0.0)
        failure = Failure(Reason.STYLE_INVALID, f"{tmp_path}/art/sea.jpg: is no picture")
        job = ledger.begin(make_job("b.jpg"))
        accounts.settle(JobResult(job, "failed", error=failure), 0.0)
        accounts.flush(0.0, force=True)
    assert [line["error"]["message"] for line in lines] == [
        "a.jpg: permission denied",
        "sea.jpg: is no picture",
    ]
    for path in outbox.root.rglob("*"):
        assert path.is_dir() or str(tmp_path) not in path.read_text(), path


def test_visitors_of_the_live_gallery_are_told_no_folder():
    view = View(inbox="/home/ada/in box", outbox="/home/ada/out box")
    view.message = "paused: /home/ada/out box: cannot be written (see /home/ada/other/x)"
    assert live_document(view, 0.0)["message"] == "paused: out box: cannot be written (see x)"

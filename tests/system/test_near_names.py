"""The name that was meant is found; no answer is better than a wrong one."""

from pathlib import Path

import pytest

from pipeline.system.near_names import nearest, nearest_name, nearest_path


def test_the_most_similar_name_is_found_without_regard_to_case():
    assert nearest_name("COFEE.jpg", ["coffee.jpg", "tea.jpg"]) == "coffee.jpg"
    assert nearest_name("zebra", ["coffee.jpg"]) is None


def test_a_hint_names_one_name_or_all():
    assert nearest("balansed", ["draft", "balanced"]) == "did you mean 'balanced'?"
    assert nearest("zzz", ["draft", "fine"]) == "valid: draft, fine"
    assert nearest("zzz", []) == ""
    assert nearest("zzz", map(str, range(99))).endswith(", 31, ...")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    (tmp_path / "photos" / "summer").mkdir(parents=True)
    (tmp_path / "photos" / "summer" / "beach.jpg").touch()
    (tmp_path / ".hidden.jpg").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("photos/summer/baech.jpg", "photos/summer/beach.jpg"),
        ("photo/sumer/beach.jpg", "photos/summer/beach.jpg"),
        ("photos/summer/lighthouse.png", None),
        ("photos/summr", None),  # a folder, where a file is wanted
        ("hidden.jpg", None),
        ("", None),
        ("photos/summer/beach.jpg", None),  # it is there
        ("photos/summer/beach.jpg/x", None),
    ],
)
def test_a_missing_file_is_found_by_a_similar_path(folder, given, meant):
    assert nearest_path(Path(given)) == (Path(meant) if meant else None)
    absolute = nearest_path(folder / given)
    assert absolute == (folder / meant if meant else None)


def test_a_missing_folder_is_found_by_a_similar_path(folder):
    assert nearest_path(Path("photos/sumer"), folder=True) == Path("photos/summer")
    assert nearest_path(Path("photos/summer/baech.jpg"), folder=True) is None

"""config.yaml: what is good is taken, what is wrong is named with its line, key and remedy."""

from pathlib import Path

import pytest
from support import ROOT

from pipeline.config.loading import json_schema, load_config
from pipeline.config.manifest import load_manifest, starter_styles
from pipeline.config.transfer import PRESETS, resolve_transfer
from pipeline.config.yaml_file import read_yaml
from pipeline.errors import ConfigError

STYLES = 'styles:\n  mosaic: {image: "builtin:mosaic"}\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def complaint(folder: Path, text: str) -> str:
    path = written(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_manifest(load_config(path), path)
    return str(caught.value)


def test_the_shipped_config_is_good() -> None:
    path = ROOT / "config.yaml"
    manifest = load_manifest(load_config(path), path)
    assert manifest.styles_for("any/photo.jpg")


def test_paths_are_relative_to_the_config_file(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, STYLES + "inbox: in\noutbox: /somewhere/out\n"))
    assert config.inbox == tmp_path / "in"
    assert config.outbox == Path("/somewhere/out")
    assert config.state == tmp_path / ".state"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("outbx: x\n" + STYLES, ["config.yaml:1", "'outbx'", "did you mean 'outbox'"]),
        (STYLES + "transfer: {content_wieght: 1}\n", [":3", "content_wieght", "content_weight"]),
        (STYLES + "transfer: {size: big}\n", [":3", "transfer.size", "'big'"]),
        (STYLES + "transfer: {content_weight: .nan}\n", [":3", "transfer.content_weight"]),
        (STYLES + "preset: balansed\n", [":3", "preset", "did you mean 'balanced'"]),
        (STYLES + "device: gpu\n", [":3", "device", "'gpu'"]),
        (STYLES + "seed: yes\n", [":3", "seed"]),
        (STYLES + "outbox: inbox/out\n", ["outbox is inside the inbox"]),
        (STYLES + "inbox: outbox/in\n", ["inbox is inside the outbox"]),
        (STYLES + "state: inbox/s\n", ["state"]),
        (STYLES + STYLES, ["styles", "is given twice"]),
        (STYLES + "match: [{inbox: a, styles: [mosiac]}]\n", ["'mosiac'", "did you mean 'mosaic'"]),
        ("styles: {}\n", ["styles"]),
        ("{}\n", ["styles"]),
        ("", ["styles"]),
        ("- a\n", ["top level"]),
        ("styles: {a: {image: x.jpg}}\n", ["styles.a", "x.jpg"]),
        ('styles: {a: {image: "builtin:mosiac"}}\n', ["styles.a", "did you mean builtin:mosaic"]),
        ("styles: {a: {}}\n", ["styles.a", "image"]),
        ("styles: {../a: {image: x}}\n", ["../a"]),
        ("styles: {a: {image: x, images: {y: 1}}}\n", ["styles.a", "either"]),
        ("styles: &a {b: *a}\n", ["aliases"]),
        ("styles: [\n", ["config.yaml:"]),
        ("styles: !!python/object/apply:os.system [ls]\n", ["python"]),
    ],
)  # fmt: skip
def test_a_wrong_config_is_named_with_file_key_and_remedy(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    said = complaint(tmp_path, text)
    for word in ["config.yaml", *words]:
        assert word in said
    assert "\n" not in said


def test_a_missing_config_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config"):
        load_config(tmp_path / "none.yaml")


def test_a_giant_config_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="larger"):
        read_yaml(written(tmp_path, "x" * 100), max_bytes=99)


def test_deep_nesting_is_an_error_not_a_crash(tmp_path: Path) -> None:
    assert "config.yaml" in complaint(tmp_path, "[" * 5000)


def test_options_lie_over_one_another_style_over_config_over_preset(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "preset: draft\n"
        "transfer: {content_weight: 0.3, tv_weight: 0.5}\n"
        'styles: {a: {image: "builtin:mosaic", transfer: {content_weight: 0.7}}}\n',
    )
    transfer = load_manifest(load_config(path), path).styles["a"].transfer
    assert transfer.size == 256
    assert transfer.content_weight == 0.7
    assert transfer.tv_weight == 0.5


def test_shares_of_a_blend_add_up_to_one(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    text = 'styles: {both: {images: {a.jpg: 2, "builtin:mosaic": 1}}}\n'
    path = written(tmp_path, text)
    images = load_manifest(load_config(path), path).styles["both"].images
    assert [(p.name, round(w, 3)) for p, w in images] == [("a.jpg", 0.667), ("mosaic.jpg", 0.333)]


def test_weights_of_a_painting_that_is_named_twice_add_up(tmp_path):
    (tmp_path / "a.jpg").touch()
    text = 'styles: {both: {images: {a.jpg: 1, ./a.jpg: 2, "builtin:mosaic": 1}}}\n'
    assert list(load_config(written(tmp_path, text)).styles["both"].sources.values()) == [
        0.75,
        0.25,
    ]


def test_the_first_rule_that_fits_decides(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        'styles: {a: {image: "builtin:mosaic"}, b: {image: "builtin:mosaic"}}\n'
        'match: [{inbox: "portraits/**", styles: [a]}, {inbox: "*.png", styles: [a, b]}]\n',
    )
    manifest = load_manifest(load_config(path), path)

    def names(content: str) -> list[str]:
        return [style.name for style in manifest.styles_for(content)]

    assert names("portraits/deep/x.jpg") == ["a"]
    assert names("portraits/x.png") == ["a"]
    assert names("x.png") == ["a", "b"]
    assert names("x.jpg") == []
    assert names("deep/x.png") == []
    assert names("X.PNG") == []
    assert names("caf\udce9.png") == ["a", "b"]


def test_without_rules_every_photo_gets_every_style(tmp_path: Path) -> None:
    path = written(tmp_path, STYLES)
    manifest = load_manifest(load_config(path), path)
    assert [s.name for s in manifest.styles_for("deep/er/x.jpg")] == ["mosaic"]
    assert [s.name for s in manifest.styles_for(".hidden/x.jpg")] == ["mosaic"]


def test_every_preset_resolves_and_names_its_size() -> None:
    sizes = {name: resolve_transfer(name).size for name in PRESETS}
    assert sizes == {"draft": 256, "balanced": 512, "fine": 1024, "print": 2048, "paper": 384}


def test_the_schema_names_every_key_of_the_contract() -> None:
    keys = {"inbox", "outbox", "state", "weights", "device", "preset", "seed", "after"}
    keys |= {"transfer", "enhance", "styles", "match", "engine"}
    assert keys <= set(json_schema()["properties"])


def test_at_least_six_starter_styles_ship() -> None:
    assert len(starter_styles()) >= 6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("? [a]\n: b\n", "a key must be a word"),
        ("device: []\n", "device"),
        ("quarantine: .\n", "inside the quarantine"),  # `retry` would bring back every file
        ("quarantine: outbox\n", "inside the quarantine"),
        ("quarantine: archive\n", "inside the quarantine"),
        (
            "archive: outbox/.staging\n",
            "in place of the program's own .staging",
        ),
        (
            "quarantine: outbox/.versions/a\n",
            "in place of the program's own .versions",
        ),
        ("archive: .state\n", "state is inside the archive"),
        ("state: s\nquarantine: s/checkpoints\n", "quarantine is inside the state"),
        ("inbox: 5\n", "accepted: path"),
        ("queue: [a]\n", "keys with values"),
    ],
)
def test_what_would_end_badly_is_refused_in_words_of_the_file(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f'styles: {{a: {{image: "builtin:mosaic"}}}}\n{text}')
    with pytest.raises(ConfigError, match=said):
        load_config(path)


@pytest.mark.parametrize("key", ["inbox", "outbox", "state", "archive", "quarantine"])
@pytest.mark.parametrize("below", ["", "/of/mine"], ids=["itself", "a folder above it"])
def test_a_file_in_the_place_of_a_folder_is_named_with_its_key(
    tmp_path: Path, key: str, below: str
) -> None:
    (tmp_path / "photo.jpg").touch()
    said = complaint(tmp_path, f"{STYLES}{key}: photo.jpg{below}\n")
    assert "config.yaml" in said
    assert f"{key}: {tmp_path / 'photo.jpg'} is a file, not a folder: name" in said


@pytest.mark.parametrize("key", ["inbox", "outbox", "state", "archive", "quarantine"])
def test_a_file_with_the_default_name_of_a_folder_is_in_the_way_where_the_folder_is_used(
    tmp_path: Path, key: str
) -> None:
    (tmp_path / key.replace("state", ".state")).touch()
    using = {"archive": "after: archive\n", "quarantine": "failed: quarantine\n"}.get(key, "")
    assert f"{key}: " in complaint(tmp_path, STYLES + using)
    if using:
        load_config(written(tmp_path, STYLES))


@pytest.mark.parametrize("style", ["image: paintings/a.jpg", "images: {paintings/a.jpg: 1}"])
def test_a_painting_in_the_quarantine_is_refused(tmp_path: Path, style: str) -> None:
    """`retry` could take it for a photo. In the inbox it stays, whatever becomes of photos."""
    path = written(tmp_path, f"styles: {{a: {{{style}}}}}\nquarantine: paintings\n")
    with pytest.raises(ConfigError, match=r"styles\.a is inside the quarantine"):
        load_config(path)


def test_a_painting_in_the_inbox_is_good_where_photos_stay(tmp_path: Path) -> None:
    load_config(written(tmp_path, "styles: {a: {image: paintings/a.jpg}}\ninbox: paintings\n"))


@pytest.mark.parametrize("key", ["metrics", "log"])
def test_a_folder_in_the_place_of_a_file_is_named_with_its_key(tmp_path: Path, key: str) -> None:
    (tmp_path / "notes").mkdir()
    said = complaint(tmp_path, f"{STYLES}{key}: {{file: notes}}\n")
    assert f"config.yaml:3: {key}.file: {tmp_path / 'notes'} is a folder, not a file: name" in said


def test_weights_that_are_a_folder_are_named_with_their_key(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    said = complaint(tmp_path, f"{STYLES}weights: models\n")
    assert "weights: " in said
    assert "is a folder, not a file" in said


@pytest.mark.parametrize(
    "text",
    [
        "weights: gone.pth\n",
        "enhance: {upscale: 2, upscale_by: model, upscale_model: gone.pth}\n",
    ],
)
def test_a_missing_file_of_weights_is_told_before_any_work(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f'styles: {{a: {{image: "builtin:mosaic"}}}}\n{text}')
    with pytest.raises(ConfigError, match=r"no such file: .*gone\.pth"):
        load_manifest(load_config(path), path)


def test_no_key_is_a_copy_of_another_sections() -> None:
    """`timelapse.damaged` once was `limits.damaged`, pasted; nothing read it."""
    schema = json_schema()
    seen: dict[str, str] = {}
    for name, model in {"": schema, **schema["$defs"]}.items():
        for key, field in model.get("properties", {}).items():
            text = field.get("description")
            if text and not text.startswith("The same"):
                place = f"{name}.{key}"
                assert text not in seen, f"{place} has the description of {seen[text]}"
                seen[text] = place


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("transfer: {content_weight: 0, style_weight: 0}\n", ["transfer", "both 0"]),
        ("transfer: {content_weight: 0}\n", ["styles.none.transfer", "both 0"]),
        ("transfer: {style_layers: {relu1_1: 0}}\n", ["transfer", "style_layers: all weights"]),
    ],
)
def test_options_with_which_nothing_is_measured_are_refused_by_name(tmp_path, text, words) -> None:
    """In one place, or in several together."""
    styles = 'styles: {none: {image: "builtin:mosaic", transfer: {style_weight: 0}}}\n'
    said = complaint(tmp_path, styles + text)
    assert all(word in said for word in words), said

"""Hints to a wrong config: where a misplaced key belongs, and what a key accepts."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from pipeline.config.accepted import accepted, example_of, words_of
from pipeline.config.loading import load_config
from pipeline.config.model import Config
from pipeline.config.sidecar import Side
from pipeline.config.validation import describe_error
from pipeline.errors import ConfigError

STYLES = 'styles: {a: {image: "builtin:mosaic"}}\n'


def complaint(tmp_path: Path, text: str) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(text if "styles:" in text else STYLES + text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return str(caught.value)


MISPLACED = {
    "content_weight: 1": "'content_weight' belongs under transfer:",
    "content_wieght: 1": "did you mean 'content_weight'? It belongs under transfer:",
    "size: 512": "'size' belongs under transfer: or enhance.steps[]:",
    "format: jpeg": "'format' belongs under output: or timelapse:",
    "runs: ['0 2 * * *']": "'runs' belongs under schedule:",
    "image: a.jpg": "'image' belongs under styles.NAME:",
    "transfer: {preset: fine}": "'preset' belongs on the top level, or under enhance:",
    "transfer: {upscale: 2}": "'upscale' belongs under enhance:",
    "transfer: {depth: 16}": "did you mean 'depths'? 'depth' belongs under output:",
    "enhance: {content_weight: 1}": "'content_weight' belongs under transfer:",
    "enhance: {steps: [{step: grain, strenght: 1}]}": "did you mean 'strength'?",
    "enhance: {steps: [{step: grain, content_weight: 1}]}": "belongs under transfer:",
    'styles: {a: {image: "builtin:mosaic", tv_weight: 1}}': "belongs under styles.a.transfer:",
    'styles: {a: {image: "builtin:mosaic", preset: fine}}': "'preset' belongs on the top level",
    STYLES + "match: [{styles: [a], tv_weight: 1}]": "'tv_weight' belongs under transfer:",
    "ray: {engine: ray}": "'engine' belongs on the top level)",
    "zzz: 1": "valid: inbox, outbox",
}


@pytest.mark.parametrize("text", MISPLACED)
def test_a_misplaced_key_is_named_with_its_place(tmp_path, text):
    assert MISPLACED[text] in complaint(tmp_path, text)


def below(model: type[BaseModel], name: str) -> list[str]:
    section = model.model_fields[name].annotation
    return list(getattr(section, "model_fields", ()))


@pytest.mark.parametrize("section", [name for name in Config.model_fields if below(Config, name)])
def test_every_key_of_every_section_is_found_from_the_top_level(tmp_path, section):
    for key in below(Config, section):
        if key not in Config.model_fields:
            assert f"{section}:" in complaint(tmp_path, f"{key}: 1"), key


SIDE = {
    "content_weight": "'content_weight' belongs under transfer:",
    "preset": "'preset' belongs under enhance:",
    "outbox": "'outbox' is a key of config.yaml",
}


@pytest.mark.parametrize("key", SIDE)
def test_a_side_file_is_corrected_in_its_own_terms(key):
    with pytest.raises(ValueError, match=key) as caught:
        Side.model_validate({key: 1})
    found = describe_error(caught.value, Side, "a.yaml", {(key,): 1}, {"config.yaml": Config})
    assert found["hint"] == SIDE[key]


VALUES = {
    "transfer: {size: big}": "integer from 16 to 32768 or source; for example, size: 1024",
    "transfer: {size: sorce}": "did you mean 'source'?",
    "slots: many": "accepted: integer from 1 to 64 or auto; for example, slots: 2",
    "enhance: {denoise: high}": "accepted: number from 0 to 1",
    "enhance: {upscale: 3}": "accepted: 1, 2, 4",
    "transfer: {steps: 50}": "for example, steps: [50, 16, 14]",
    "transfer: {style_layers: relu1_1}": "for example, style_layers: {relu1_1: 2, relu2_1: 1}",
    "output: {gps: maybe}": "accepted: true, false",
    "after: remove": "accepted: keep, archive, delete",
    "device: gpu": "did you mean 'auto'?",
    "device: [cpu, cuda0]": "did you mean 'cuda:0'?",
    "schedule: {runs: daily}": 'for example, runs: ["0 2 * * *"]',
    "transfer: fine": "accepted: the keys size, scales",
    "styles: {a: [cat.jpg]}": "styles.a: give a picture, or keys with values: image, images",
}


@pytest.mark.parametrize("text", VALUES)
def test_a_wrong_value_is_named_with_what_the_key_accepts(tmp_path, text):
    assert VALUES[text] in complaint(tmp_path, text)


def test_what_a_key_accepts_is_said_in_words():
    assert accepted(Config, "after") == "keep, archive, delete"
    assert accepted(Config, "after", quote="`") == "`keep`, `archive`, `delete`"
    assert words_of(Config, "slots") == ["auto"]
    assert (example_of(Config, "slots"), example_of(Config, "seed")) == ("2", "")

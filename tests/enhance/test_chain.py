"""The chain is a preset, or steps of one's own; what it says is checked before anything runs."""

import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError
from support import ROOT

from pipeline.cli.flags import parse_flags
from pipeline.config.enhancement import ORDER, PRESETS, STEPS, Enhance, Step
from pipeline.config.loading import load_config
from pipeline.config.manifest import load_manifest
from pipeline.config.sidecar import Side, merge_side_files
from pipeline.config.transfer import Transfer
from pipeline.enhance.step_limits import ALLOWED_SHIFT, MAX_MEAN_SHIFT
from pipeline.errors import ConfigError, InputError, UsageError
from pipeline.jobs.recipe import Recipe, Recipes


def named(options: Enhance) -> list[str]:
    return [step.step for step in options.chain()]


def strengths(options: Enhance) -> dict[str, float]:
    return {step.step: step.strength for step in options.chain()}


def config(tmp_path: Path, enhance: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(f'styles: {{a: {{image: "builtin:mosaic"}}}}\nenhance:\n{enhance}\n')
    return path


# ---- Presets -------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_takes_its_steps_in_the_usual_order(preset: str) -> None:
    names = named(Enhance(preset=preset))
    assert names == sorted(names, key=ORDER.index)


def test_vivid_does_more_than_natural_and_none_does_nothing() -> None:
    natural, vivid = strengths(Enhance()), strengths(Enhance(preset="vivid"))
    assert all(vivid[name] >= strength for name, strength in natural.items())
    assert vivid["vibrance"] > 2 * natural["vibrance"]
    assert named(Enhance(preset="none")) == []


def test_the_page_describes_the_presets_as_they_are() -> None:
    page = (ROOT / "docs/enhancement.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|$", page, re.MULTILINE))
    for name, steps in PRESETS.items():
        said = ", ".join(f"{step.step} {step.strength:g}" for step in steps)
        assert rows[name] == (said or "nothing: the stylized picture")


# ---- Strengths over the preset's -----------------------------------------------------------


def test_a_strength_lies_over_the_presets() -> None:
    assert strengths(Enhance(denoise=0.9))["denoise"] == 0.9
    assert "denoise" not in named(Enhance(denoise=0.0))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_step_that_a_preset_lacks_comes_in_its_usual_place(preset: str) -> None:
    names = named(Enhance(preset=preset, **dict.fromkeys(ORDER, 0.5)))
    assert names == list(ORDER)


def test_a_strength_also_lies_over_steps_of_ones_own() -> None:
    options = Enhance.model_validate({"steps": ["sharpen", "denoise"], "sharpen": 0.9, "clean": 1})
    assert strengths(options) == {"clean": 1.0, "sharpen": 0.9, "denoise": 0.3}


# ---- Steps of one's own --------------------------------------------------------------------


def test_a_step_can_be_written_in_three_ways(tmp_path: Path) -> None:
    said = "  steps:\n  - sharpen\n  - denoise: 0.7\n  - {step: grain, strength: 0.4, size: 3}"
    sharpen, denoise, grain = load_config(config(tmp_path, said)).enhance.chain()
    assert (sharpen.step, sharpen.strength) == ("sharpen", 0.3)
    assert (denoise.step, denoise.strength) == ("denoise", 0.7)
    assert grain.model_dump() == {"step": "grain", "strength": 0.4, "size": 3.0, "seed": 0}


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        ("[denose]", "there is no step 'denose'"),
        ("[denoise: 2]", "number from 0 to 1"),
        ("[{step: grain, sise: 2}]", "sise"),
        ("[{strength: 2}]", "there is no step"),
        ("[3]", "steps"),
        ("sharpen", "steps"),
        (f"[{', '.join(['denoise'] * 33)}]", "at most 32"),
    ],
)
def test_a_wrong_step_is_named_with_its_file_and_line(
    tmp_path: Path, steps: str, complaint: str
) -> None:
    path = config(tmp_path, f"  steps: {steps}")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert complaint in str(caught.value)
    assert "config.yaml:3" in str(caught.value)


def test_a_chain_survives_the_run_log() -> None:
    """``options`` of a line is meant to be pasted back."""
    options = Enhance.model_validate({"preset": "print", "steps": ["denoise", {"grain": 0.4}]})
    again = Enhance.model_validate(options.model_dump(mode="json"))
    assert again == options
    assert again.chain() == options.chain()


def test_every_step_has_a_key_of_its_own_for_its_strength() -> None:
    keys = Enhance.model_fields
    assert [name for name in ORDER if name not in keys] == []
    described = {name: keys[name].description for name in ORDER}
    assert described == {name: step.__doc__ for name, step in STEPS.items()}


def test_only_the_last_steps_are_applied_at_the_final_size() -> None:
    """So that a chain in the usual order is enlarged between two of its steps."""
    late = [STEPS[name].at_final_size for name in ORDER]
    assert late == sorted(late)
    assert any(late)


def test_only_steps_that_exist_are_allowed_to_shift_colours() -> None:
    assert set(ALLOWED_SHIFT) <= set(ORDER)


def test_the_page_states_by_how_much_a_step_may_shift_the_mean_colour() -> None:
    page = " ".join((ROOT / "docs/enhancement.md").read_text().split())
    bullet = page.partition("- **Mean colour.**")[2].partition(" - **")[0]
    most = re.search(r"by more than (0\.\d+)", bullet)
    assert most is not None
    assert float(most[1]) == MAX_MEAN_SHIFT
    groups = re.findall(r"((?:`\w+`(?: and |, )?)+) by up to (0\.\d+)", bullet)
    stated = {name: float(by) for names, by in groups for name in re.findall(r"\w+(?=`)", names)}
    assert stated == ALLOWED_SHIFT


def test_every_step_is_known_by_its_name() -> None:
    adapter = TypeAdapter(Step)
    assert [adapter.validate_python(name).step for name in ORDER] == list(ORDER)


def test_equal_chains_make_equal_recipes_and_defaults_do_not_count() -> None:
    def digest(**options: object) -> str:
        enhance = Enhance.model_validate(options)
        return Recipe((), Transfer(), enhance, "embedded", 0).digest

    assert digest() == digest(preset="natural", upscale=1)
    assert digest(steps=["denoise"]) == digest(steps=[{"step": "denoise"}])
    different = [digest(), digest(steps=["denoise"]), digest(steps=["sharpen"]), digest(upscale=2)]
    assert len(set(different)) == 4


# ---- Upscaling -----------------------------------------------------------------------------


@pytest.mark.parametrize("times", [0, 3, 8, -1, 2.5, "2"])
def test_a_picture_grows_by_one_two_or_four(times: object) -> None:
    with pytest.raises(ValidationError):
        Enhance.model_validate({"upscale": times})


def test_a_models_file_is_relative_to_the_config(tmp_path: Path) -> None:
    said = "  upscale_by: model\n  upscale_model: models/x.safetensors"
    found = load_config(config(tmp_path, said)).enhance.upscale_model
    assert found == tmp_path / "models/x.safetensors"


def test_upscaling_by_a_model_needs_its_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="upscale_model: give the file of the model"):
        load_config(config(tmp_path, "  upscale_by: model"))


def test_a_model_counts_by_its_files_content(tmp_path: Path) -> None:
    """Not by where it lies; and not at all while nothing is enlarged by it."""

    def made(times: int, name: str, holds: str) -> str:
        said = f"  {{upscale: {times}, upscale_by: model, upscale_model: {name}}}"
        (tmp_path / name).write_text(holds)
        path = config(tmp_path, said)
        found = load_config(path)
        return Recipes(found).recipe_for(load_manifest(found, path).styles["a"]).digest

    assert made(2, "a.pth", "one") == made(2, "b.pth", "one")
    assert made(2, "a.pth", "one") != made(2, "a.pth", "three")
    assert made(1, "c.pth", "one") == made(1, "d.pth", "two")


# ---- Flags ---------------------------------------------------------------------------------


def test_every_option_is_a_flag() -> None:
    flags = {"enhance": "vivid", "enhance_steps": "denoise:0.7, sharpen", "upscale": "2"}
    options = parse_flags(Enhance, flags | {"canvas": "0.1"})
    assert (options.preset, options.upscale) == ("vivid", 2)
    assert strengths(options) == {"denoise": 0.7, "sharpen": 0.3, "canvas": 0.1}


def test_the_transfers_steps_are_not_the_enhancements() -> None:
    flags = {"steps": "20,10", "enhance": "none"}
    assert parse_flags(Transfer, flags).chosen() == {"steps": (20, 10)}
    assert parse_flags(Enhance, flags).chosen() == {"preset": "none"}


@pytest.mark.parametrize(
    ("flags", "where"),
    [
        ({"enhance": "garish"}, "--enhance"),
        ({"enhance_steps": "denose"}, "--enhance-steps"),
        ({"grain": "7"}, "--grain"),
        ({"upscale_by": "model"}, "--upscale-model"),
    ],
)
def test_a_wrong_flag_is_named(flags: dict[str, str], where: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_flags(Enhance, flags)
    assert caught.value.where == where


# ---- Side files ----------------------------------------------------------------------------


def wished(
    tmp_path: Path, text: str, transfer: str = "{}", side: int = 1024, upscale: int = 1
) -> Side | None:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"transfer: {transfer}\nenhance: {{upscale: {upscale}}}\nlimits: {{side: {side}}}\n"
        f'styles: {{a: {{image: "builtin:mosaic"}}}}\n'
    )
    asked = tmp_path / "p.jpg.yaml"
    asked.write_text(text)
    config = load_config(path)
    manifest = load_manifest(config, path)
    return merge_side_files("p.jpg", {"p.jpg.yaml": (asked, text)}, manifest, config)


def test_a_side_files_size_counts_as_large_as_the_config_enlarges_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="4 times 300 px"):
        wished(tmp_path, "transfer: {size: 300}", upscale=4)
    assert wished(tmp_path, "transfer: {size: 256}", upscale=4) is not None
    assert wished(tmp_path, "{transfer: {size: 1000}, enhance: {upscale: 1}}", upscale=4)
    assert wished(tmp_path, "enhance: {grain: 0.1}", upscale=4) is not None  # the config's own


def test_a_side_file_may_choose_the_chain(tmp_path: Path) -> None:
    found = wished(tmp_path, "enhance: {preset: vivid, grain: 0.2, upscale: 2}")
    assert found is not None
    assert (found.enhance.preset, found.enhance.grain, found.enhance.upscale) == ("vivid", 0.2, 2)


@pytest.mark.parametrize(
    "text",
    [
        "enhance: {upscale_by: model}",
        "enhance: {upscale_model: /etc/passwd}",
        "enhance: {upscale_by: model, upscale_model: /etc/passwd}",
    ],
)
def test_a_side_file_never_names_a_model(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError):
        wished(tmp_path, text)


def test_a_side_file_cannot_take_the_configs_model_away(tmp_path: Path) -> None:
    found = wished(tmp_path, "enhance: {upscale_model: null, grain: 0.1}")
    assert found is not None
    above = Enhance(upscale_by="model", upscale_model=tmp_path / "m.pth")
    laid = above.overlay(found.enhance)
    assert laid.upscale_model == tmp_path / "m.pth"


@pytest.mark.parametrize(
    ("text", "transfer"),
    [
        ("enhance: {upscale: 4}", "{}"),  # 512 px by the preset
        ("{transfer: {size: 600}, enhance: {upscale: 2}}", "{}"),
        ("{styles: [a], enhance: {upscale: 2}}", "{size: 1000}"),
        ("enhance: {upscale: 2}", "{size: source}"),
    ],
)
def test_a_side_file_cannot_ask_for_more_than_the_limit(
    tmp_path: Path, text: str, transfer: str
) -> None:
    with pytest.raises(InputError) as caught:
        wished(tmp_path, text, transfer)
    assert "at most 1024 px" in str(caught.value)
    assert caught.value.where == "p.jpg.yaml"

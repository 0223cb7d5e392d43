"""The enhancement chain: its typed steps, in order, and its presets."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from pipeline.config.base import FromList, LocalPath, Options, Strength

Seed = Annotated[int, Field(ge=0, lt=2**63)]


class StepOptions(Options):
    """The options that every step has. The docstring of a step is its line in help and docs."""

    # Applied after the picture has been enlarged, so that it is made at the final size. Such steps
    # are the last in `AnyStep`.
    at_final_size: ClassVar[bool] = False

    step: str
    strength: Strength = 0.3


class Clean(StepOptions):
    """Removes specks and marks along the border."""

    step: Literal["clean"]
    strength: Strength = 0.5
    border: Annotated[int, Field(ge=0, le=16)] = 3  # px looked at along each side; 0: specks only


class Denoise(StepOptions):
    """Removes fine noise, mainly colour noise, and keeps brush edges."""

    step: Literal["denoise"]


class Detail(StepOptions):
    """Restores detail of the photo."""

    step: Literal["detail"]
    radius: Annotated[int, Field(ge=1, le=64)] = 6  # px; larger: coarser detail too


class WhiteBalance(StepOptions):
    """Removes a colour cast."""

    step: Literal["white_balance"]


class Tone(StepOptions):
    """Moves the darkest and lightest tones towards black and white."""

    step: Literal["tone"]


class Contrast(StepOptions):
    """Increases local contrast."""

    step: Literal["contrast"]


class Vibrance(StepOptions):
    """Deepens muted colours more than strong ones, and skin less."""

    step: Literal["vibrance"]
    guard: Strength = 0.8  # how far colours of skin are spared


class Sharpen(StepOptions):
    """Sharpens without halos."""

    at_final_size = True
    step: Literal["sharpen"]


class Grain(StepOptions):
    """Adds grain like that of film or paper."""  # strongest in the middle tones

    at_final_size = True
    step: Literal["grain"]
    strength: Strength = 0.2
    size: Annotated[float, Field(ge=1, le=16, allow_inf_nan=False)] = 1.5  # px
    seed: Seed = 0


class Canvas(StepOptions):
    """Adds the weave of a canvas."""  # lit from the upper left

    at_final_size = True
    step: Literal["canvas"]
    strength: Strength = 0.2
    size: Annotated[float, Field(ge=2, le=64, allow_inf_nan=False)] = (
        4.0  # px from thread to thread
    )
    seed: Seed = 0


# In the usual order: first what repairs, then what changes, last what lies on the surface.
AnyStep = (
    Clean | Denoise | Detail | WhiteBalance | Tone | Contrast | Vibrance | Sharpen | Grain | Canvas
)
STEPS: dict[str, type[AnyStep]] = {
    get_args(step.model_fields["step"].annotation)[0]: step for step in get_args(AnyStep)
}
ORDER = tuple(STEPS)
StepName = Literal[ORDER]  # type: ignore[valid-type]  # built from the table above
LONGEST = 32  # steps of one chain: a side file must not keep the machine for long


def _expand_short_form(value: Any) -> Any:
    """``denoise`` and ``denoise: 0.3`` as the mapping that they abbreviate."""
    if isinstance(value, str):
        value = {"step": value}
    elif isinstance(value, dict) and len(value) == 1 and "step" not in value:
        ((name, strength),) = value.items()
        value = {"step": name, "strength": strength}
    if isinstance(value, dict) and value.get("step") not in ORDER:
        raise ValueError(f"there is no step {value.get('step')!r}; there are: {', '.join(ORDER)}")
    return value


Step = Annotated[
    Annotated[AnyStep, Field(discriminator="step")],
    BeforeValidator(
        _expand_short_form,
        json_schema_input_type=Annotated[AnyStep, Field(discriminator="step")]
        | StepName
        | dict[StepName, Strength],
    ),
]

ChainName = Literal["natural", "vivid", "print", "none"]


def _chain(**strengths: float) -> tuple[AnyStep, ...]:
    return tuple(_build_step(name, strength) for name, strength in strengths.items())


def _build_step(name: str, strength: float) -> AnyStep:
    return STEPS[name].model_validate({"step": name, "strength": strength})


PRESETS: dict[ChainName, tuple[AnyStep, ...]] = {
    "natural": _chain(
        clean=0.5, denoise=0.3, tone=0.25, contrast=0.25, vibrance=0.15, sharpen=0.25
    ),
    "vivid": _chain(clean=0.5, denoise=0.3, tone=0.5, contrast=0.4, vibrance=0.4, sharpen=0.3),
    "print": _chain(
        clean=0.5, denoise=0.4, tone=0.25, contrast=0.25, vibrance=0.2, sharpen=0.5, grain=0.2
    ),
    "none": (),
}

# A key of `Enhance` with a step's name: its strength.
Shortcut = Strength | None


def _strength_of(step: type[AnyStep]) -> Any:
    return Field(None, description=step.__doc__)


UpscaleBy = Literal["transfer", "lanczos", "model"]


class Enhance(Options):
    """The steps that make the enhanced picture: a preset, or your own.

    A strength under a step's name replaces that of the preset; 0 removes the step.
    """

    preset: ChainName = Field(
        "natural", description="A ready-made chain of steps; see docs/enhancement.md."
    )
    steps: Annotated[Annotated[tuple[Step, ...], Field(max_length=LONGEST)] | None, FromList] = (
        Field(
            None,
            description="Steps in your own order, instead of a preset. Each is written as "
            "`denoise`, `denoise: 0.3` or `{step: grain, strength: 0.2, size: 2}`.",
        )
    )
    clean: Shortcut = _strength_of(Clean)
    denoise: Shortcut = _strength_of(Denoise)
    detail: Shortcut = _strength_of(Detail)
    white_balance: Shortcut = _strength_of(WhiteBalance)
    tone: Shortcut = _strength_of(Tone)
    contrast: Shortcut = _strength_of(Contrast)
    vibrance: Shortcut = _strength_of(Vibrance)
    sharpen: Shortcut = _strength_of(Sharpen)
    grain: Shortcut = _strength_of(Grain)
    canvas: Shortcut = _strength_of(Canvas)
    upscale: Literal[1, 2, 4] = Field(
        1, description="Enlarges the picture by this factor in width and height."
    )
    upscale_by: UpscaleBy = Field(
        "transfer",
        description="How the picture is enlarged. transfer: with new brushwork. lanczos: by plain "
        "interpolation. model: by a learned model.",
    )
    upscale_model: LocalPath | None = Field(
        None,
        description="The file of the learned model, .safetensors or .pth; needs the extra "
        "`[upscale]`.",
    )

    @model_validator(mode="after")
    def _check_model_is_named(self) -> Self:
        if self.upscale_by == "model" and self.upscale_model is None:
            raise ValueError(
                "upscale_model: give the file of the model, because upscale_by is model"
            )
        return self

    @property
    def enlarging_model(self) -> Path | None:
        """The learned model's file, where one is used."""
        return self.upscale_model if self.upscale > 1 and self.upscale_by == "model" else None

    def chain(self) -> tuple[AnyStep, ...]:
        """The steps in force, in order; none of strength 0."""
        steps = list(PRESETS[self.preset] if self.steps is None else self.steps)
        for name in ORDER:
            strength = getattr(self, name)
            if strength is not None:
                steps = _with_strength(steps, name, strength)
        return tuple(step for step in steps if step.strength > 0)


def _with_strength(steps: list[AnyStep], name: str, strength: float) -> list[AnyStep]:
    """The steps with another strength of one; a missing step is added in its usual place."""
    if any(step.step == name for step in steps):
        changed = {"strength": strength}
        return [s.model_copy(update=changed) if s.step == name else s for s in steps]
    later = ORDER[ORDER.index(name) + 1 :]
    at = next((i for i, step in enumerate(steps) if step.step in later), len(steps))
    return [*steps[:at], _build_step(name, strength), *steps[at:]]

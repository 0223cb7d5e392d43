"""The enhancement chain: its typed steps, in order, and its presets."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from pipeline.config.base import FromList, LocalPath, Options, Strength

Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Clean(Options):
    """Removes specks and marks along the border."""

    step: Literal["clean"]
    strength: Strength = 0.5
    border: Annotated[int, Field(ge=0, le=16)] = 3  # px looked at along each side; 0: specks only


class Denoise(Options):
    """Removes fine noise, chroma's far more than luma's; keeps brush edges."""

    step: Literal["denoise"]
    strength: Strength = 0.3


class Detail(Options):
    """Brings back detail of the photo where the painting has little of its own."""

    step: Literal["detail"]
    strength: Strength = 0.3
    radius: Annotated[int, Field(ge=1, le=64)] = 6  # px; larger: coarser detail too


class WhiteBalance(Options):
    """Removes a colour cast."""

    step: Literal["white_balance"]
    strength: Strength = 0.3


class Tone(Options):
    """Moves the darkest and lightest tones towards black and white."""

    step: Literal["tone"]
    strength: Strength = 0.3


class Contrast(Options):
    """Increases local contrast."""

    step: Literal["contrast"]
    strength: Strength = 0.3


class Vibrance(Options):
    """Deepens muted colours more than strong ones."""

    step: Literal["vibrance"]
    strength: Strength = 0.3
    guard: Strength = 0.8  # how far colours of skin are spared


class Sharpen(Options):
    """Sharpens without halos."""

    step: Literal["sharpen"]
    strength: Strength = 0.3


class Grain(Options):
    """Adds grain as of film or paper, strongest in the middle tones."""

    step: Literal["grain"]
    strength: Strength = 0.2
    size: Annotated[float, Field(ge=1, le=16, allow_inf_nan=False)] = 1.5  # px
    seed: Seed = 0


class Canvas(Options):
    """Adds the weave of a canvas, lit from the upper left."""

    step: Literal["canvas"]
    strength: Strength = 0.2
    size: Annotated[float, Field(ge=2, le=64, allow_inf_nan=False)] = (
        4.0  # px from thread to thread
    )
    seed: Seed = 0


AnyStep = (
    Clean | Denoise | Detail | WhiteBalance | Tone | Contrast | Vibrance | Sharpen | Grain | Canvas
)
StepName = Literal[
    "clean", "denoise", "detail", "white_balance", "tone", "contrast", "vibrance",
    "sharpen", "grain", "canvas",
]  # fmt: skip

# The usual order: first what repairs, then what changes, last what lies on the surface.
ORDER: tuple[StepName, ...] = get_args(StepName)
# A picture is enlarged before the first of these, so that they are made at the final size.
FINISHING = ("sharpen", "grain", "canvas")
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

PRESETS: dict[ChainName, tuple[AnyStep, ...]] = {
    "natural": (
        Clean(step="clean", strength=0.5),
        Denoise(step="denoise", strength=0.3),
        Tone(step="tone", strength=0.25),
        Contrast(step="contrast", strength=0.25),
        Vibrance(step="vibrance", strength=0.15),
        Sharpen(step="sharpen", strength=0.25),
    ),
    "vivid": (
        Clean(step="clean", strength=0.5),
        Denoise(step="denoise", strength=0.3),
        Tone(step="tone", strength=0.5),
        Contrast(step="contrast", strength=0.4),
        Vibrance(step="vibrance", strength=0.4),
        Sharpen(step="sharpen", strength=0.3),
    ),
    "print": (
        Clean(step="clean", strength=0.5),
        Denoise(step="denoise", strength=0.4),
        Tone(step="tone", strength=0.25),
        Contrast(step="contrast", strength=0.25),
        Vibrance(step="vibrance", strength=0.2),
        Sharpen(step="sharpen", strength=0.5),
        Grain(step="grain", strength=0.2),
    ),
    "none": (),
}

Shortcut = Strength | None
UpscaleBy = Literal["transfer", "lanczos", "model"]


class Enhance(Options):
    """The chain of steps that makes the enhanced picture: a preset, or your own.

    A strength given under a step's name replaces that of the chain; 0 removes the step.
    """

    preset: ChainName = Field(
        "natural", description="The preset chain of steps; see docs/enhancement.md."
    )
    steps: Annotated[Annotated[tuple[Step, ...], Field(max_length=LONGEST)] | None, FromList] = (
        Field(
            None,
            description="Steps in your own order, instead of a preset. Each is written as "
            "`denoise`, `denoise: 0.3` or `{step: grain, strength: 0.2, size: 2}`.",
        )
    )
    clean: Shortcut = Field(None, description="Removes specks and marks along the border.")
    denoise: Shortcut = Field(
        None, description="Removes fine noise, mainly colour noise, and keeps brush edges."
    )
    detail: Shortcut = Field(None, description="Restores detail of the photo.")
    white_balance: Shortcut = Field(None, description="Removes a colour cast.")
    tone: Shortcut = Field(
        None, description="Moves the darkest and lightest tones towards black and white."
    )
    contrast: Shortcut = Field(None, description="Increases local contrast.")
    vibrance: Shortcut = Field(
        None, description="Deepens muted colours more than strong ones, and skin less."
    )
    sharpen: Shortcut = Field(None, description="Sharpens without halos.")
    grain: Shortcut = Field(None, description="Adds grain like that of film or paper.")
    canvas: Shortcut = Field(None, description="Adds the weave of a canvas.")
    upscale: Literal[1, 2, 4] = Field(
        1, description="Enlarges the picture by this factor in width and height."
    )
    upscale_by: UpscaleBy = Field(
        "transfer",
        description="How the picture is enlarged: with new brushwork (transfer), by plain "
        "interpolation (lanczos), or by a learned model (model).",
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


def _with_strength(steps: list[AnyStep], name: StepName, strength: float) -> list[AnyStep]:
    """The steps with another strength of one; a missing step is added in its usual place."""
    if any(step.step == name for step in steps):
        changed = {"strength": strength}
        return [s.model_copy(update=changed) if s.step == name else s for s in steps]
    later = ORDER[ORDER.index(name) + 1 :]
    at = next((i for i, step in enumerate(steps) if step.step in later), len(steps))
    added = _STEPS[name].model_validate({"step": name, "strength": strength})
    return [*steps[:at], added, *steps[at:]]


_STEPS: dict[str, type[AnyStep]] = dict(zip(ORDER, get_args(AnyStep), strict=True))

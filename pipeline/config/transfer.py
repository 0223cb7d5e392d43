"""Every option of the transfer, with its default, its range and its description.

The one home of these defaults: config.yaml, side files, command-line flags and the library call
all validate against the model below. No torch is imported here.

To add a transfer option: add a field with default, range and description to `Transfer`, and read
it as ``options.NAME`` in `pipeline.nst`. The keys `transfer.NAME` and `styles.STYLE.transfer.NAME`,
the side files' key, the flag ``--NAME``, the JSON Schema, the record in pictures and the recipe's
digest follow from the field; `scripts/make_docs.py` writes the pages. (An option at its default is
left out of digests: a new one paints nothing again. Where a side file must not have it, narrow it
in `pipeline.config.sidecar.SideTransfer`.)

The value that counts is that of the last of these layers which sets it:

1. the default of the field;
2. the preset, `PRESETS` below;
3. `transfer:` of config.yaml;
4. `styles.STYLE.transfer:` of config.yaml (2 to 4: `Config.transfer_of`);
5. the photo's side files, the outermost folder first (`Recipes.of`).

`stylize` and `sweep` have the flags instead of 3 to 5, and `sweep` the cell's values on top. All
of them are merged by `Options.overlay`, and by nothing else.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from pipeline.config.base import LENGTH_OF_TIME, FromList, Options, Strength, absolute
from pipeline.system.clock import parse_length
from pipeline.system.paths import system_text

# relu layers of VGG-19 up to the deepest one the losses look at (Simonyan & Zisserman 2014).
LAYERS = tuple(
    f"relu{block}_{conv}"
    for block, convs in ((1, 2), (2, 2), (3, 4), (4, 4), (5, 4))
    for conv in range(1, convs + 1)
)

LayerName = Literal[LAYERS]  # type: ignore[valid-type]  # built from the table above
Weight = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
LEAST_SIDE = 16  # px
Side = Annotated[int, Field(ge=LEAST_SIDE, le=32768)]
Steps = Annotated[int, Field(ge=1, le=100_000)]


def _start_image(value: Any, info: ValidationInfo) -> Any:
    in_config = bool((info.context or {}).get("base"))
    if not in_config or not isinstance(value, str) or value in ("", *INIT_WORDS):
        return value
    return str(absolute(value, info))


INIT_WORDS = ("content", "noise", "style")
StartImage = Annotated[str, BeforeValidator(_start_image)]
SystemText = Annotated[str, AfterValidator(system_text)]  # an argument of a program, a host

ColorWord = Literal["style", "content", "luminance", "match"]

TargetName = Literal["structure", "style"]
Target = Annotated[dict[TargetName, Strength], Field(min_length=1, max_length=1)]

LONGEST = 86400.0  # seconds that a picture may be given
Within = Annotated[
    float,
    BeforeValidator(lambda value: parse_length(value) if isinstance(value, str) else value),
    Field(gt=0, le=LONGEST, allow_inf_nan=False),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST},
                {"type": "string", "format": LENGTH_OF_TIME, "pattern": r"^\d+(\.\d+)? ?[smhd]$"},
            ]
        }
    ),
]

Depths = Annotated[tuple[Annotated[int, Field(ge=1, le=5)], ...], Field(min_length=1), FromList]


NOTHING_MEASURED = "content_weight and style_weight are both 0; give one of them more than 0"


class Transfer(Options):
    """How pictures are painted: the options of the style transfer (Gatys et al. 2015, 2016)."""

    size: Side | Literal["source"] = Field(
        512,
        description="Long side of the picture in px, or source for the photo's own size.",
        examples=[1024, "source"],
    )
    scales: Annotated[tuple[Side, ...] | None, FromList] = Field(
        None,
        description="The scales as long sides in px, coarse to fine; the last one is size. "
        "Default: size, halved until it is close to 128 px (96 to 192).",
        examples=[[128, 256, 512]],
    )
    steps: Annotated[tuple[Steps, ...], Field(min_length=1), FromList] = Field(
        (50, 16, 14),
        description="Optimiser steps for each scale, coarse to fine. The finest scale, and any "
        "scale beyond the list, uses the last value. A single scale uses the first.",
        examples=[[50, 16, 14]],
    )
    depths: Depths = Field(
        (5, 5, 3),
        description="The deepest VGG block that measures style, 1 to 5, for each scale in the "
        "order of steps. Fine scales are faster without deep blocks and lose little: "
        "the coarser scales have already placed the large forms.",
    )
    content_depths: Depths = Field(
        (5,),
        description="The deepest VGG block that measures content, 1 to 5, for each scale in the "
        "order of steps. It applies only at scales where depths leaves out all "
        "content_layers. A deep block keeps eyes and mouths intact at the finest scale; "
        "[1] is faster and makes faces weaker. Details: docs/how-it-works.md.",
    )
    strength: Strength = Field(
        0.5,
        description="How strongly the picture is painted: 0 is the photo itself, 0.5 the usual "
        "look, and 1 the painting, with little left of the photo but where things are. It "
        "multiplies `content_weight`.",
        examples=[0.25],
    )
    stroke: Strength = Field(
        0.5,
        description="The size of strokes: 0 is fine, 0.5 that of the painting, 1 broad. It "
        "multiplies `style_scale`.",
        examples=[0.75],
    )
    target: Target | None = Field(
        None,
        description="What the picture must reach, instead of a `strength`: `structure`, how "
        "much its edges are like the photo's (1: the photo), or `style`, how far it is from the "
        "painting's style (1: the photo, 0: the painting). The program searches for the strength, "
        "with small pictures of 192 px; where the finished picture is still off by more than 0.02, "
        "it is painted a second time. What was found is recorded.",
        examples=[{"structure": 0.5}],
    )
    within: Within | None = Field(
        None,
        description="In about how much time a pair is to be painted: seconds, or a time such as "
        "30s, 2m or 1h. The program chooses the largest size (256 to 2048 px, at most the photo's "
        "own) and the steps that this machine can paint in it, and records what it chose. `size`, "
        "`scales`, `steps`, `depths` and `content_depths` then have no effect.",
        examples=["30s"],
    )
    content_weight: Weight = Field(0.3, description="How strongly the picture follows the photo.")
    style_weight: Weight = Field(1.0, description="How strongly the picture follows the style.")
    tv_weight: Weight = Field(0.02, description="How strongly noise is smoothed (total variation).")
    content_layers: dict[LayerName, Weight] = Field(
        {"relu4_2": 1.0},
        min_length=1,
        description="VGG layers that measure content, with weights.",
        examples=[{"relu4_2": 1.0}],
    )
    content_target: Literal["adapted", "photo"] = Field(
        "adapted",
        description="What the content is compared with. adapted: the photo in the "
        "painting's hues (with `colors: style`), its features shifted to the painting's "
        "means and deviations, so that content does not work against style. photo: the "
        "photo as it is, as in the paper.",
    )
    content_focus: Literal["detail", "even"] = Field(
        "detail",
        description="Where the picture follows the photo. detail: mainly where the photo has "
        "detail, so that skies and walls can show the painting's own motifs. "
        "even: everywhere equally, as in the paper.",
    )
    style_layers: dict[LayerName, Weight] = Field(
        {"relu1_1": 4.0, "relu2_1": 2.0, "relu3_1": 1.0, "relu4_1": 2.0, "relu5_1": 2.0},
        min_length=1,
        description="VGG layers that measure style, with weights.",
        examples=[{"relu1_1": 2.0, "relu2_1": 1.0}],
    )
    statistic: Literal["gram", "covariance", "mean_std", "wasserstein", "sliced", "histogram"] = (
        Field(
            "wasserstein",
            description="The statistic of the painting's features that the picture must match.",
        )
    )
    init: StartImage = Field(
        "content",
        min_length=1,
        description="The image that painting starts from: content (the photo), noise, style "
        "(the painting), or the path of an image.",
    )
    optimizer: Literal["lbfgs", "adam"] = Field(
        "lbfgs", description="The method that changes the picture step by step."
    )
    learning_rate: Annotated[float, Field(gt=0, le=100)] | None = Field(
        None, description="The step size of the optimiser. Default: 1 for lbfgs, 0.05 for adam."
    )
    style_loss: Literal["auto", "whole", "faces", "attention"] = Field(
        "auto",
        description="Which part of the painting teaches which part of the photo. `whole`: all of "
        "it teaches every part, as in the paper; a painted eye may then appear in the sky. "
        "`attention`: each place of the photo learns from the places of the painting that show "
        "something similar; `attention_by` says how they are compared. `auto`: `attention` if the "
        "painting shows a face and the photo none, else `whole`; also if the photo shows a large "
        "face and `protect_strength` is below 1. `faces`: as `whole`, but a painted face can "
        "appear only where the photo has a face.",
    )
    attention_by: Literal["vgg", "vit"] = Field(
        "vgg",
        description="How `attention` compares places. `vgg`: by VGG-19's deep features. `vit`: by "
        "the tokens of DINOv2, which tell sky, hair and skin apart better; needs the extra `vit`.",
    )
    protect: Literal["all", "face", "subject", "none"] = Field(
        "face",
        description="Where small forms of the photo, such as eyes, are kept by a deep layer at the "
        "finest scale. `face`: in faces. `subject`: in the photo's main subject (needs a mask "
        "beside the photo, or the extra `vit`). `all`: everywhere, which is slower. `none`: "
        "nowhere, which is the fastest.",
    )
    protect_strength: Strength = Field(
        1.0,
        description="How firmly a portrait is protected, with `protect: face`, if a face of the "
        "photo is taller than 0.15 of its long side. 1: all detail of the photo is kept, as in any "
        "picture. 0.5: eyes, nose and mouth are kept, while skin, hair and clothes are left to the "
        "painting's strokes. 0: hardly anything is kept.",
        examples=[0.7],
    )
    style_scale: Annotated[float, Field(ge=0.1, le=10)] = Field(
        1.0,
        description="The size of strokes: 2 makes the painting's strokes twice as large.",
    )
    colors: ColorWord = Field(
        "style",
        description="Whose colours the picture has. style: the painting's. content: the photo's, "
        "each in its place, with the light and dark of the painted picture. luminance: the same, "
        "but only light and dark are painted, so that colours do not influence the strokes. match: "
        "the painting gets the photo's colours first, so that strokes have these colours, but not "
        "each in its place.",
    )
    color_strength: Strength = Field(
        1.0,
        description="How far `colors` applies: 1 fully, 0 not at all. With `colors: style`, 0 is "
        "the photo's colours; with the others, 0 is the painting's.",
        examples=[0.5],
    )
    block: Annotated[int, Field(ge=64, le=32768)] | None = Field(
        None,
        description="Compute in blocks of this side in px, for pictures that do not fit "
        "into memory. The result is the same, but takes longer. Default: the whole "
        "picture at once.",
    )
    pooling: Literal["max", "l2", "average"] = Field(
        "max",
        description="The pooling of VGG-19. max: as it was trained. l2: the root mean square, "
        "for calmer lines, slightly weaker faces and a third more memory. average: the mean.",
    )

    @model_validator(mode="after")
    def _check_something_is_measured(self) -> Self:
        """Without photo and painting there is nothing to paint: a mistake in every source."""
        for key in ("content_layers", "style_layers"):
            if not any(getattr(self, key).values()):
                raise ValueError(f"{key}: all weights are 0; give at least one layer more than 0")
        if not self.content_weight and not self.style_weight:
            raise ValueError(NOTHING_MEASURED)
        return self


# What each preset lays over the defaults above; a user's own options lie over the preset.
PRESETS: dict[str, dict[str, Any]] = {
    "draft": {"size": 256, "steps": (50, 24), "depths": (5, 3)},
    "balanced": {"size": 512, "steps": (50, 16, 14), "depths": (5, 5, 3)},
    "fine": {
        "size": 1024,
        "steps": (50, 16, 14, 16),
        "depths": (5, 5, 3, 3),
        "content_depths": (5, 5, 5, 3),
    },
    "print": {
        "size": 2048,
        "steps": (50, 16, 14, 16, 8),
        "depths": (5, 5, 3, 3, 3),
        "content_depths": (5, 5, 5, 3, 3),
    },
    # The method as published, to learn from: every difference that an option can undo is undone.
    "paper": {
        "size": 384,
        "scales": (384,),  # one, at smaller sizes too: a scale beyond the size is left out
        "steps": (150,),
        "depths": (5,),
        "content_weight": 0.3,
        "tv_weight": 0.0,
        "content_layers": {"relu4_2": 1.0},
        "content_target": "photo",
        "content_focus": "even",
        "style_layers": {f"relu{block}_1": 1.0 for block in range(1, 6)},
        "statistic": "gram",
        "init": "noise",
        "optimizer": "adam",
        "learning_rate": 0.1,
        "style_loss": "whole",
        "protect": "all",
        "colors": "style",
        "pooling": "average",  # of 2015, where it was found to give better pictures than max
    },
}

# What `within` chooses; it takes size and steps from these presets, the smallest first.
SIZED = ("size", "scales", "steps", "depths", "content_depths")
LADDER = ("draft", "balanced", "fine", "print")
SMALLEST, LARGEST = PRESETS[LADDER[0]]["size"], PRESETS[LADDER[-1]]["size"]  # px

# What is rendered first with `first: draft`: other scales would not fit this size.
DRAFT = Transfer.model_validate(PRESETS["draft"] | {"scales": None, "within": None})

PresetName = Literal["draft", "balanced", "fine", "print", "paper"]


def resolve_transfer(preset: str, *layers: Transfer) -> Transfer:
    """The preset with the options that each layer sets laid over it, the last layer on top."""
    return Transfer.model_validate(PRESETS[preset]).overlay(*layers)

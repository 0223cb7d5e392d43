"""The enhancement chain: its typed steps, in order, and its presets."""

from pydantic import Field

from pipeline.options import Options, Strength


class Enhance(Options):
    """Options of the enhancement; 0 switches a step off."""

    denoise: Strength = Field(0.3, description="Removes fine chroma noise, keeps brush edges.")
    contrast: Strength = Field(0.35, description="Local contrast.")
    sharpen: Strength = Field(0.4, description="Halo-free sharpening.")

"""JPEG files heard out: what libjpeg warns of while it decodes, which Pillow does not pass on.

libjpeg goes on after damage and fills up with grey. simplejpeg, a door to libjpeg-turbo that raises
at the first warning, decodes each JPEG a second time, at an eighth of its size.
"""

import re

import simplejpeg

_DAMAGE = re.compile(
    "Corrupt JPEG data|Premature end|Inconsistent progression|Invalid (SOS|progressive)|two SO"
    "|Bogus|Invalid JPEG file structure|Unsupported marker"
)
_UNSUPPORTED = re.compile("Unsupported JPEG process|Unsupported JPEG data precision")
MOST_PADDING = 64  # bytes; a hole of zeros, where a download was cut, leaves more
_PADDING = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")


def complaint(data: bytes) -> tuple[str, bool]:
    """What libjpeg says of a JPEG ("" when nothing), and whether the file is damaged.

    What it says and is no damage means that such JPEGs cannot be decoded.
    """
    try:
        simplejpeg.decode_jpeg(data, "gray", min_height=1, min_width=1, strict=True)
    except ValueError as error:
        said = " ".join(str(error).split())
        if _UNSUPPORTED.search(said):
            return said, False
        if _DAMAGE.search(said) and not _is_padding(said, data):
            return said, True
    return "", False


def _is_padding(said: str, data: bytes) -> bool:
    """Whether the bytes left over at the end are zeros or ones, as some cameras fill up."""
    found = _PADDING.match(said)
    if found is None or int(found[1]) > MOST_PADDING:
        return False
    end = data.rfind(b"\xff\xd9")
    start = max(0, end - int(found[1]))
    return len(set(data[start:end]) - {0x00, 0xFF}) == 0

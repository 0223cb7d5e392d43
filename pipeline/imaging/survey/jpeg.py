"""Checks JPEG files for libjpeg's warnings, which Pillow does not pass on.

libjpeg continues after damage and fills up with grey. simplejpeg, which wraps libjpeg-turbo and
raises at the first warning, decodes each JPEG a second time, at an eighth of its size.
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


def warning_of(data: bytes) -> tuple[str, bool]:
    """Libjpeg's warning about a JPEG ("" when there is none), and whether the file is damaged.

    A warning without damage means that such JPEGs cannot be decoded.
    """
    try:
        simplejpeg.decode_jpeg(data, "gray", min_height=1, min_width=1, strict=True)
    except ValueError as error:
        warning = " ".join(str(error).split())
        if _UNSUPPORTED.search(warning):
            return warning, False
        if _DAMAGE.search(warning) and not _is_padding(warning, data):
            return warning, True
    return "", False


def _is_padding(warning: str, data: bytes) -> bool:
    """Whether the bytes left over at the end are zeros or ones, as some cameras fill up."""
    found = _PADDING.match(warning)
    if found is None or int(found[1]) > MOST_PADDING:
        return False
    end = data.rfind(b"\xff\xd9")
    start = max(0, end - int(found[1]))
    return len(set(data[start:end]) - {0x00, 0xFF}) == 0

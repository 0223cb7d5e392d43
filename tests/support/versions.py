"""A service whose pictures are made again in another size."""

from support.studio import CONFIG

LARGE = CONFIG.replace("watch", "transfer: {size: 64, steps: [2]}\nwatch")
SMALL = LARGE.replace("64", "32")

"""What is claimed about speed and quality, measured: `make bench` prints it all.

Figures are medians and ratios within one run: this program against its peers on the same
picture, the same cores, in turn. Nothing here is a test; nothing here fails on a slow machine.
"""

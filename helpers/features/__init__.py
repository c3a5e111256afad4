"""Features (notebook 02): what a frozen network sees in each photo, computed once.

In: photos. Out: a vector and a grid of region vectors a photo, on disk.
To read: `backbones` (the networks, their preprocessing inside), `store` (extract, keep, load), `neighbours`.
"""

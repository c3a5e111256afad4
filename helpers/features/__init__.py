"""Features (notebook 02): what a frozen network sees in each photo, computed once.

In: photos. Out: a vector and a grid of region vectors a photo, on disk.
To read: `backbones` (the networks, their preprocessing inside), `colours` (an eye without weights), `store` (extract,
keep, load), `neighbours`.
"""

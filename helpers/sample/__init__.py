"""The drawn world: pictures and captions made at run time, for a course that needs no download.

In: how many scenes, which classes, a seed. Out: a folder laid out like the Kaggle data sets, which `data/` reads.
To read: `captions` (what a scene shows, and five ways to say it), `drawing` (composes it), `pen` (lines, shades), then
`places`, `people`, `animals` with `quadrupeds`; `draw` makes the folder.
"""

"""Data (notebook 01): from folders of photos and captions to one manifest, and from files to pixels and tokens.

In: a profile. Out: the manifest; photos as upright RGB, captions as token ids.
To read: `manifest` (what a photo is), `datasets` (fetch, split, check), `known_sets` (what downloads cost), `layouts`
with `readers/` (one small module a layout on disk), `left_out` (what is not used, and why), `images` (the door for
every photo), `text` (cleaning, vocabularies), `descriptions` (of classes), `plots` (photos in rows).
"""

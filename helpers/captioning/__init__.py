"""Captioning (notebooks 03a to 03c): from features to a sentence.

In: features and captions. Out: a folder for each captioner, loaded with one call, and its scores.
To read: `lstm`, `attention`, `transformer` (the models), `decoding` (greedy, beam search, sampling), `captioner` (model
with vocabulary and settings), `training`, `self_critical` (rewarded for whole captions), `scoring` (BLEU, ROUGE-L,
CIDEr-D, METEOR), `facts` (what a score hides, where the truth is known), `named_words` (colours and numbers, where
people have to do for the truth), `evaluation` (one judge for all), `ensemble`, `blip` (models that others trained),
`plots`.
"""

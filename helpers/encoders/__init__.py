"""Encoders (notebooks 04a to 04c): photos and texts as vectors of one space.

In: photos or their features, and texts. Out: pairs with `embed_photos` and `embed_texts`, and their figures.
To read: `dual_encoder` with `contrastive` and `training` (from scratch), `metrics` (recall, precision, nDCG),
`sentence_encoder` and `pretrained` (frozen networks, a layer a side), `keywords`, `triplet`, `fusion`
and `fusion_training` (photo and text in one vector), `clip` (models that others trained), `plots`.
"""

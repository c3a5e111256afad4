"""Search (notebook 06, `make app`): a finished run, asked with words, a photo or both.

In: trained models on OpenVINO. Out: hits in order, a caption for a photo, a page to ask on.
To read: `index` (FAISS), `engine` (models, indexes and captioner behind one object), `reranking` (hubs, a second look),
`consensus` (of many captions the best), `display` (photos made small), `page` (the panel of a notebook); `web` (the
search page), `guard` (who may ask it), `app` (serves it).
"""

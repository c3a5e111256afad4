"""Search (notebook 06, `make app`, `make album`): a finished run, or an album, asked with words, a photo or both.

In: trained models on OpenVINO. Out: hits in order, a caption for a photo, a page to ask on.
To read: `index` (FAISS), `engine` (models, indexes and captioner behind one object), `reranking` (hubs, a second look),
`consensus` (of many captions the best), `display` (photos made small), `page` (the panel of a notebook); `web` (the
search page), `guard` (who may ask it), `app` (serves it). For a folder of one's own: `album` (asks and answers),
`album_models` (what looks at the photos), `album_update` (which are new), `album_store` (what is kept), `copies`.
"""

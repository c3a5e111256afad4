"""Past one machine (notebook 08, `python -m helpers.scale`): the same jobs on engines that people already operate.

In: photos in a folder, in tar files or in Parquet, and a finished run. Out: Parquet shards of vectors, and an index.
To read: `packages` (what has to be installed), `sources` (where photos come from, cut into shards), `embedder` (makes
one shard), `embedding` (makes all of them, here or `on_ray`), `embedded` (reads them), `filters`, `faiss_index` and
`milvus_index` (two indexes behind the same four methods), `indexes` (which of them), `sizing` (hours, memory, money).
"""

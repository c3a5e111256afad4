"""Speed (`make bench`): how fast all of it is, each figure as a ratio of one run.

In: photos and a finished run of the sample. Out: tables for `outputs/benchmarks.json`, which notebook 05 draws.
To read: `benchmarks` (time and memory of a call), then `extraction`, `captioning`, `encoders`, `latency`, `search`,
`album`, `imports`, `growth`, and `plots`.
"""

"""The laboratory: comparisons, benchmarks and the papers' experiments.

Read `contenders` (what can be run), `runs` (how step sizes are chosen) and `compare`; then `bench`; then `experiments`
(what the papers did), `reproduce` and `results`.
"""

"""The laboratory: comparisons, benchmarks and the papers' experiments.

Read `contenders` (what can be run), `runs` (how step sizes are chosen) and `compare`; then `bench` with
`race` and `ranks`; then `experiments` (what the papers did), `reproduce` and `results`. `train` does a single run;
`tables`, `figures` and `machine` (where a run took place) serve them all.
"""

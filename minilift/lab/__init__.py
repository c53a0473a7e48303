"""The laboratory: comparisons, benchmarks and the papers' experiments.

Read `compare`, then `contenders` and `bench`, then `experiments`, `results` and `reproduce`.
"""

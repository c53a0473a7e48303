"""The layers: maps φ with parameters, transfers σ between them, and losses; none remembers its last input.

Read `maps` and `gram`, then `activations` and `losses`; `convolution`, `pooling` and `normalization` add images.
"""

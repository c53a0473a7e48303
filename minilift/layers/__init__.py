"""The layers: maps φ with parameters, transfers σ between them, and losses; none remembers its last input.

Read `base` (what a layer is), `gram`, `maps` and `joins`, then `activations` and `losses`; `convolution`, `pooling` and
`normalization` add images.
"""

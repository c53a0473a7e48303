"""The layers: maps φ with parameters, transfers σ between them, and losses; none stores its last input.

Read `base` (what a layer is), `gram`, `maps` and `joins`, then `activations` and `losses`; for images, `convolution`,
`pooling` and `normalization`.
"""

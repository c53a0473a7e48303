"""The methods that keep lifted values as variables: an energy, and an order in which to solve for its blocks.

Read `descend`, then `three_split` with `bcd`, `admm` and `dladmm`; `two_split` with `mac`, `predictive_coding` and
`target_propagation`; and `matching` with `fenchel`, `lpom` and `lifted_bregman`.
"""

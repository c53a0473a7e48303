"""The methods that keep lifted values as variables: an energy, and an order in which its blocks are solved.

Read `descend`, then `three_split` with `bcd` and `admm`; the others differ in the energy or in what they do in a block.
"""

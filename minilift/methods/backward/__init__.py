"""The methods in which a and z are eliminated: one backward sweep, and for each paper the local problem it solves.

Read `sweep`, then `backprop`, `proxprop`, `locoprop` and `semi_implicit`. Then `kronecker`, which averages ProxProp's
Gram matrix over batches and adds the signal's covariance, and `gauss_newton`, which takes all parameters as one block.
"""

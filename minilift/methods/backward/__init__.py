"""The methods that eliminate a and z: one backward sweep, and for each paper the local problem it solves.

Read `sweep`, then `backprop`, `proxprop`, `locoprop` and `semi_implicit`; next `kronecker`, which averages ProxProp's
Gram matrix over batches and adds the signal's covariance, and `gauss_newton`, which treats all parameters as one block.
"""

"""The methods in which a and z are eliminated: one backward sweep, and for each paper the local problem it solves.

Read `sweep`, then `backprop`, `proxprop`, `locoprop` and `semi_implicit`.
"""

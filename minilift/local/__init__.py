"""The local problem in one block of parameters, and its solvers.

Read `problems` (what is minimised), `minimisers` (whether a minimiser exists), then `solvers` (how to find it).
For methods with lifted values: `fits` (closed-form argmins over these) and `activation_problem` (over activations).
"""

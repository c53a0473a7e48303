"""The local problem in one block of parameters, and what solves it.

Read `problems` (what is minimised), `minimisers` (whether there is one), then `solvers` (how).
For the methods that keep lifted values: `fits` (closed argmins over these) and `activation_problem` (over activations).
"""

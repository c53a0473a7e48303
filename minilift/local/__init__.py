"""The local problem in one block of parameters, and what solves it.

Read `problems` (what is minimised), `minimisers` (whether there is one), then `solvers` (how).
"""

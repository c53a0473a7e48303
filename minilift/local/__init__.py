"""The local problem in one block of parameters, and what solves it.

Read `problems` (what is minimised), then `solvers` (how).
"""

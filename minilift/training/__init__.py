"""Training: the loop over mini-batches, its records, and their curves.

Read `history` (the record of a run), then `fit`, then `curves`; `names` makes methods and
optimizers from their names, and `ranks` shares a batch among several processes.
"""

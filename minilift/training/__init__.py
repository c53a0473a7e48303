"""Training: the loop over mini-batches, what it records, and curves of it.

Read `history` (what a run leaves behind), then `fit`, then `curves`; `names` makes methods and
optimizers of their names, `ranks` shares a batch among several processes.
"""

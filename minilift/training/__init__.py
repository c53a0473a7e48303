"""Training: the loop over mini-batches, what it records, and curves of it.

Read `history` (what a run leaves behind), then `fit`, then `curves`.
"""

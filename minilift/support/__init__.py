"""What every room stands on: checks of arguments, the two array libraries, files that are written whole, the terminal.

Read `arguments`, then `backend` (the only importer of CuPy), then `files`, then `terminal`.
"""

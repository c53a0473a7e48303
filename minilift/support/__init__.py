"""What every room stands on: checks of arguments, the two array libraries, files that are written whole.

Read `arguments`, then `backend` (the only importer of CuPy), then `files`; `options` reads values of command lines.
"""

"""What every room stands on: checks of arguments, settings, the two array libraries, files that are written whole.

Read `arguments`, then `settings` (what a thing was made with), `backend` (the only importer of CuPy) and `files`.
"""

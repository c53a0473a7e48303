"""What every room stands on: checks of arguments, settings, the array libraries, files, signals, the terminal.

Read `arguments`, then `settings` (what a thing was made with), `backend` (the only importer of CuPy), `files` and
`parallel` (the only importer of mpi4py), then `signals`, `terminal` and `processes`; `options` reads values of command
lines, `spellings` answers wrong guesses at names in Python and `commands` those on the command line, `tables` aligns
text.
"""

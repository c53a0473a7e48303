"""The foundation of all other modules: checks of arguments, settings, array libraries, files, signals, the terminal.

Read `arguments`, then `settings` (what a thing was made with), `backend` (the only importer of CuPy), `files` and
`parallel` (the only importer of mpi4py), then `signals`, `terminal` and `processes`. `options` reads values on command
lines, `spellings` answers wrong guesses at names in Python and `commands` those on the command line, and `tables`
aligns text.
"""

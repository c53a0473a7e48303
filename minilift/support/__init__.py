"""What every room stands on: checks of arguments, settings, the array libraries, files, signals, the terminal.

Read `arguments`, then `settings` (what a thing was made with), `backend` (the only importer of CuPy) and `files`, then
`signals` and `terminal`; `options` reads values of command lines.
"""

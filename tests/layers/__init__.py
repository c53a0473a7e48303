"""A package, so that pytest tells `test_maps` and `test_losses` here from those of `verify` in tests/checks."""

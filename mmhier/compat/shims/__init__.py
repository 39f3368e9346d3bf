"""Source files that :mod:`mmhier.compat.finders` runs under a foreign module name when that is absent."""

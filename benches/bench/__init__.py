"""Measures pgqueue beside its peers. See `python -m bench --help` and the report's method."""

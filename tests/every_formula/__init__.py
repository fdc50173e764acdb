"""Suites over the whole table, named by what they claim of every formula."""

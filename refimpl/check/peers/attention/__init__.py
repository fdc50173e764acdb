"""Adapters of public implementations of attention formulas."""

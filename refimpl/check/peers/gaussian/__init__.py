"""Adapters of public implementations of gaussian formulas."""

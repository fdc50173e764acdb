"""Adapters of public implementations of position formulas."""

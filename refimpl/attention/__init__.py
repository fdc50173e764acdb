"""Attention: exact, approximate and recurrent forms."""

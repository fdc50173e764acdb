"""Evidence: Attention: exact, approximate and recurrent forms."""

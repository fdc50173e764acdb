"""Evidence: Position encodings and what makes them decay."""

"""Programs for maintainers; not installed."""

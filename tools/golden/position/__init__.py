"""Second definitions in plain mpmath: position."""

"""Second definitions in plain mpmath: attention."""

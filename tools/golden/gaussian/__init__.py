"""Second definitions in plain mpmath: gaussian."""

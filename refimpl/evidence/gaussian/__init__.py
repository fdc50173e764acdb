"""Evidence: Gaussian densities, and divergences and distances between them."""

"""Build curves from observations, and compute their emergence scores."""

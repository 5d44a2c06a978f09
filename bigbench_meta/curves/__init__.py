"""Observations to curves, and curves to emergence scores."""

"""Synthetic data: the mathematical model of the paper, and tasks to run on your own models."""

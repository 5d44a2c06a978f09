"""Outputs to scores of single examples: arrays in, arrays out."""

"""Score single examples from model outputs, on plain arrays."""

"""Made on purpose: the mathematical model of the paper, and tasks for other people's models."""

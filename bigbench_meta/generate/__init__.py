"""Model families made on purpose: the mathematical model of the paper."""

"""What every room stands on: errors, tables, checks of arguments, keys, texts and Arrow arrays."""

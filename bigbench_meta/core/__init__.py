"""The basis of all other folders: errors, tables, argument checks, keys, texts, Arrow arrays."""

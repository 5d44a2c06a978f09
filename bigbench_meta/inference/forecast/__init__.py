"""What smaller models predict of larger ones, and how wrong that is."""

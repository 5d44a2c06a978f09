"""What smooth models would have shown: tests of every curve against a null."""

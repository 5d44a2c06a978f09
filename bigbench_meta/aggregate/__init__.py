"""What the scores mean together: by metric, by criterion, by what accounts for the flags."""

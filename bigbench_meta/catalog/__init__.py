"""What is known beforehand: metrics, tasks, model names, known issues, sizes of test sets."""

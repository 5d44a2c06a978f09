"""Reference data: metrics, tasks, model names, known issues, sizes of test sets."""

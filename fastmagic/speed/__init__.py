"""What makes the same training quicker; each has its own switch."""

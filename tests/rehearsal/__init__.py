"""What is told of a message, held against what becomes of it."""

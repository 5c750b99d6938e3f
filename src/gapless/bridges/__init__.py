"""What brings messages of other systems into channels."""

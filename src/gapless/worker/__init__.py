"""The worker: claims jobs and reads streams in one process, and has them handled in others, or right here."""

"""Several nodes over one store: who is there, what they have each other do, whether one is deaf."""

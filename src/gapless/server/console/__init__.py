"""The console's door: its pages, who logs in, and what a session of it may do."""

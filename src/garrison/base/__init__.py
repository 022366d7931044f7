"""What every room may lean on: errors, the clock, private files, events and the one guarded fetcher."""

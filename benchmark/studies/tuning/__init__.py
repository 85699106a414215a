"""Equal tuning: every method gets the same number of trials, the same budget and the same rule of selection."""

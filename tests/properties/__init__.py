"""What holds for every input and every course of events, not only for chosen ones."""

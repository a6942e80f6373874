"""`trueline demo`: a real application with four real incidents, and a check that each one is found."""

"""Quality of predictions and rankings."""

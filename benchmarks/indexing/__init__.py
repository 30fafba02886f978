"""Speed and cost of builds."""

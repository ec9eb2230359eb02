"""What the rebuilt papers print and claim."""

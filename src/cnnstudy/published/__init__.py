"""Published numbers and claims of the rebuilt papers."""

"""The page that sets our numbers beside the published ones."""

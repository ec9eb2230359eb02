"""Figures, made with Matplotlib."""

"""Chromium as the tests of pages start it."""

import shutil

PATH = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # which is small in many containers
    "--disable-background-networking",
    "--disable-component-update",
)
# Pixels of a desk's and of a phone's screen.
WIDE, PHONE = 1280, 390

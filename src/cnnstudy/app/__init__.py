"""A page to try a net in the browser. Needs Gradio, which has an environment of its own: `make app`."""

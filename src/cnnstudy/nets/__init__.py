"""The nets: layer tables, and Keras models made from them."""

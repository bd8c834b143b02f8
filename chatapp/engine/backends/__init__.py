"""Where tensors come from: one file per backend, imported only when chosen (by `loading`)."""

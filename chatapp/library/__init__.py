"""Model pairs on disk: what they are, and whether their files are whole. No torch: headers are enough."""

"""Pairs on AWS Inferentia2 and Trainium: the adapter of transformers-neuronx, its launch plan, and graphs prepared ahead."""

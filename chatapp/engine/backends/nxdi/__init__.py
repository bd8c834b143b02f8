"""Pairs on AWS Inferentia2 and Trainium through neuronx-distributed-inference, the successor of transformers-neuronx.

What differs from its predecessor, and so from `backends.neuron`: one window is compiled, and every pass of the target is that
long; the host's attention mask says what is visible; nothing but whole windows goes on behind position 0; and the draft
reads one token per launch.
"""

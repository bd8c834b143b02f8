"""Reads the machine: NeuronCores, their software, the screen, memory and disk. Writes nothing, asks no network unless told to."""

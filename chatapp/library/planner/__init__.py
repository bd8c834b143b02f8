"""The memory planner: whether a pair fits an Inferentia2 or Trainium instance, before anything is loaded.

    shapes.py       models by name or by config.json      sharding.py     heads, vocabulary and MLP as a tp degree pads them
    memory.py       bytes on a core, on the host, on disk     planning.py     one plan, with obstacles and warnings
    suggestions.py  what would make it fit, verified      report.py       text and JSON      service.py      what the window asks

Arithmetic on published shapes alone: it must not import torch, read weights, or need the device.
"""

"""The device path: static KV, captured passes, and a window that is drafted, verified and accepted without the host.

`decoder` is the forward, `device` the model that the engine knows, `launch` the way to the device, `distributions` the
arithmetic of sampling, `kernels` a window's three pieces of work, `window` the host's side of it, `loading` what makes a model
of a checkpoint, `synthetic` the pairs that the benchmark measures.

All of it is tested on the CPU, where launches are plain calls. No GPU was at hand so far: that graphs are captured, and what
they gain, has not been measured; where a capture is refused, the same work is called plainly.
"""

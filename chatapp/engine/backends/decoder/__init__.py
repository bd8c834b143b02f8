"""The fast path: Llama-shaped decoders written for one sequence on a CPU. One idea per file; `decoder` puts them together.

`shape` reads config.json, `rotary` turns positions into factors, `weights` names and fuses the matrices, `linears` multiplies
by them, `attention` keeps and reads the KV, `exactness` finds out what keeps a row's bits, `decoder` is the forward.
"""

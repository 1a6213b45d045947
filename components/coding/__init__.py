"""What decides and codes symbols in use: integers, numpy and the range coder, without a network library.

A probability model trains in components.entropy. For coding it hands its integer networks and tables to a coder here:
`hyperprior`, `factorized` or `channel_gaussian`. An exported codec holds the same arrays.

Arithmetic: fixed_point, gain (quantiser steps). Order of passes: checkerboard, context. Probabilities: gaussian_tables,
mixture_tables, channel_tables. Bytes: range_coder, escapes, channel_flags.
"""

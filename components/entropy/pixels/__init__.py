"""Lossless coding of pixels.

Pictures: a causal MLP predicts a distribution for each pixel, rANS or Huffman codes the residuals.

wavefront (order, context) --> causal_mlp, fixed_point_mlp (mean, scale, weight)
                           --> logistic_mixture (table of each pixel) --> residual_coder (rans, huffman) --> bytes

Index maps of palettes: index_coder (order, contexts) --> adaptive_bits (table of each decision) --> rans --> bytes
"""

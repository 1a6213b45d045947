"""Lossless coding of pixels: a causal MLP predicts a distribution for each, rANS or Huffman codes the residuals.

wavefront (order, context) --> causal_mlp, fixed_point_mlp (mean, scale, weight)
                           --> logistic_mixture (table of each pixel) --> residual_coder (rans, huffman) --> bytes
"""

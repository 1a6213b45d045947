"""Entropy models: the rate of latents in training, and their bytes in use.

Models of codecs: channel_gaussian, factorized_model, hyperprior, bit_depths, progressive.trit_plane_model, pixels.
Each takes latents in `forward` (estimated bits), and has `encode` to sections and `decode` back.

Priors: factorized_prior, conditional (Gaussians and mixtures given a hyperprior), hyper_latents, running_statistics.
Quantisation: relaxation (training), rdo_quantisation (encoder), gain (steps of each channel).
Coding: range_coder, escapes, channel_flags, gaussian_tables, mixture_tables, checkerboard (order of passes).
"""

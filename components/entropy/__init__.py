"""Entropy models: the rate of latents in training, and their bytes in use.

Models of codecs: channel_gaussian, factorized_model, hyperprior, bit_depths, progressive.trit_plane_model, pixels.
Each takes latents in `forward` (estimated bits), and has `encode` to sections and `decode` back; components.coding does
that for the first three.

Priors: factorized_prior, conditional (Gaussians and mixtures given a hyperprior), hyper_latents, running_statistics.
Contexts: context, channel_groups, checkerboard and neighbours (positions). Tables: gaussian_tables, mixture_tables.
Quantisation: relaxation (training), rdo_quantisation and refinement (encoder), gain (steps of each channel).
"""

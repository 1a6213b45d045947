"""Network parts that codecs and entropy models share: transforms, blocks, normalisation, wavelets, fixed point."""

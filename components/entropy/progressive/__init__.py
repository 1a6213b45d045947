"""Progressive coding in trit planes (DPICT, Lee et al. 2022): every prefix of a stream decodes."""

//! Key pairs: encodings as devices really write them, derivation, fingerprints, sealing. Pure but for the entropy handed in.

//! Particle firmware modules: format, checks, order, and what goes where. Pure: bytes in, plan out.

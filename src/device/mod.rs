//! The protocols that Particle devices speak over USB, on top of [`crate::edge::Pipe`].

//! The Particle cloud API: calls, wire types, typed answers and limits, on top of [`crate::edge::Http`]. No thread, no queue.

//! The shell around the core: main loop, a worker for each slot, the uplink.

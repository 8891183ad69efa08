//! The core, pure: `decide(now, input)` gives facts and effects, `apply(fact)` changes the state.

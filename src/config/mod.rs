//! `station.toml` to model types. Parse, don't validate: errors show file, line, key, value and what is allowed.

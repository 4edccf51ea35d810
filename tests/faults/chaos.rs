//! The agent's record against the truth.

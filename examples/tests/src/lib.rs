//! The tests of the examples are in `tests/`.
